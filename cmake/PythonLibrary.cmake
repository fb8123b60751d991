# The Python package has the library of a front end in its folder, without a version.
set(CAFFE2OP_MASK_LIBRARY_DIR ${CMAKE_CURRENT_SOURCE_DIR}/python/caffe2op_mask
  CACHE PATH "Where the library is put for Python: the folder of the package")

# A wheel goes to machines that may not have Highway: it carries the library beside ours.
option(CAFFE2OP_MASK_BUNDLE "Put what a wheel must carry beside the library" OFF)

# python_library(TARGET LIBRARY RPATH): TARGET puts LIBRARY there; RPATH is where a bundled one finds what
# it needs, beside its own folder.
function(python_library target library rpath)
  set(file ${CAFFE2OP_MASK_LIBRARY_DIR}/lib${library}.so)
  add_custom_command(OUTPUT ${file}
    COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:${library}> ${file}
    DEPENDS ${library} VERBATIM)
  add_custom_target(${target} ALL DEPENDS ${file})
  if(CAFFE2OP_MASK_BUNDLE)
    set_target_properties(${library} PROPERTIES
      BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN:${rpath}")
    get_filename_component(hwy ${HWY_LIBRARY} REALPATH)
    add_custom_command(TARGET ${target} POST_BUILD
      COMMAND ${CMAKE_COMMAND} -E copy ${hwy} ${CAFFE2OP_MASK_LIBRARY_DIR}/libhwy.so.1)
  endif()
endfunction()
