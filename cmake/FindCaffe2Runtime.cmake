# Finds the Caffe2 that a Python has, in a torch wheel or in packages of a distribution, and everything
# needed to build for it. find_package(Torch) of a wheel asks for CUDA, so the Python is asked instead.
#
#   in:  CAFFE2_PYTHON                     the Python to ask (default: python3 on PATH)
#   out: Caffe2Runtime_FOUND
#        Caffe2Runtime_VERSION             of torch
#        Caffe2Runtime_CXX11_ABI           0 or 1, as the runtime was compiled
#        Caffe2Runtime_PROTOBUF_VERSION    that caffe2.pb.h asks for, such as 3.13.0
#        Caffe2Runtime_PROTOBUF_LIBRARY    shared library of it, empty where the runtime hides its own
#        Caffe2Runtime_GLOG_LIBRARY        shared library of glog, empty where the runtime logs without
#        Caffe2Runtime_GFLAGS_LIBRARY      and of gflags, empty where it has flags of its own
#        Caffe2Runtime_LIBRARY_DIR
#        target Caffe2::Runtime            headers and libraries but for protobuf

set(CAFFE2_PYTHON "python3" CACHE STRING "Python that has the Caffe2 to build for")

include(AskPython)
ask_python(${CAFFE2_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/caffe2_runtime.py Caffe2Runtime
  "No Caffe2 to build for: ")

# Not every compiler can make both string ABIs of libstdc++: one for an old system may know the old alone.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_DEFINITIONS -D_GLIBCXX_USE_CXX11_ABI=${Caffe2Runtime_CXX11_ABI})
check_cxx_source_compiles(
  "#include <string>
  static_assert(_GLIBCXX_USE_CXX11_ABI == ${Caffe2Runtime_CXX11_ABI}, \"\");
  int main() {}"
  Caffe2Runtime_CXX11_ABI_IS_${Caffe2Runtime_CXX11_ABI})
unset(CMAKE_REQUIRED_DEFINITIONS)
if(NOT Caffe2Runtime_CXX11_ABI_IS_${Caffe2Runtime_CXX11_ABI})
  message(FATAL_ERROR "Caffe2 of torch ${Caffe2Runtime_VERSION} has the string ABI _GLIBCXX_USE_CXX11_ABI=${Caffe2Runtime_CXX11_ABI}, which ${CMAKE_CXX_COMPILER} does not make.")
endif()

# Some headers of the runtime include mkl_cblas.h; the PyPI package mkl-include brings it.
find_path(Caffe2Runtime_MKL_INCLUDE_DIR mkl_cblas.h
  HINTS ${Caffe2Runtime_PREFIX}/include)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Caffe2Runtime
  REQUIRED_VARS Caffe2Runtime_INCLUDE_DIR Caffe2Runtime_LIBRARY_DIR Caffe2Runtime_PROTOBUF_VERSION
  VERSION_VAR Caffe2Runtime_VERSION)

include(${CMAKE_CURRENT_LIST_DIR}/Caffe2RuntimeTarget.cmake)
