# The target Caffe2::Runtime, headers and libraries of a Caffe2 but for protobuf: for the build of this
# project, which asks a Python where they are, and for programs, which know it from the installed one.
#
#   in:  Caffe2Runtime_INCLUDE_DIR, Caffe2Runtime_LIBRARY_DIR
#        Caffe2Runtime_CXX11_ABI           0 or 1, as the runtime was compiled
#        Caffe2Runtime_MKL_INCLUDE_DIR     of mkl_cblas.h, where there is one
#        Caffe2Runtime_GLOG_LIBRARY        where the runtime logs by it
#        Caffe2Runtime_GFLAGS_LIBRARY      where the runtime has its flags by it

if(NOT TARGET Caffe2::Runtime)
  set(_include ${Caffe2Runtime_INCLUDE_DIR})
  if(Caffe2Runtime_MKL_INCLUDE_DIR)
    list(APPEND _include ${Caffe2Runtime_MKL_INCLUDE_DIR})
  endif()
  add_library(Caffe2::Runtime INTERFACE IMPORTED)
  # at::parallel_for is serial unless compiled with OpenMP. One process must have one OpenMP, so none
  # is named to the linker: libtorch_cpu.so brings the one it was made with.
  set_target_properties(Caffe2::Runtime PROPERTIES
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_include}"
    INTERFACE_INCLUDE_DIRECTORIES "${_include}"
    INTERFACE_COMPILE_OPTIONS "-fopenmp"
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=${Caffe2Runtime_CXX11_ABI}"
    INTERFACE_LINK_LIBRARIES
      "${Caffe2Runtime_LIBRARY_DIR}/libtorch_cpu.so;${Caffe2Runtime_LIBRARY_DIR}/libc10.so;${Caffe2Runtime_GLOG_LIBRARY};${Caffe2Runtime_GFLAGS_LIBRARY}")
endif()
