# What `cmake --install` puts where, for programs in C++ (examples/cpp is one):
#
#   component runtime      the library by its soname, and licenses
#   component development  its header and link name, what find_package(caffe2op_mask) reads, and the
#                          protobuf that cmake/ProtobufLite.cmake builds, in folders of our own

include(CMakePackageConfigHelpers)
set(_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/caffe2op_mask)
get_filename_component(CAFFE2_ROOT ${Caffe2Runtime_INCLUDE_DIR} DIRECTORY)

target_include_directories(caffe2op_mask INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/registry>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS caffe2op_mask caffe2_runtime EXPORT caffe2op_maskTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT runtime NAMELINK_COMPONENT development)
install(FILES LICENSE licenses/LICENSE.highway licenses/LICENSE.protobuf
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

install(FILES registry/caffe2op_mask.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(EXPORT caffe2op_maskTargets NAMESPACE caffe2op_mask::
  DESTINATION ${_config_dir} COMPONENT development)
configure_package_config_file(cmake/caffe2op_maskConfig.cmake.in caffe2op_maskConfig.cmake
  INSTALL_DESTINATION ${_config_dir}
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(caffe2op_maskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/caffe2op_maskConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/caffe2op_maskConfigVersion.cmake
  cmake/Caffe2RuntimeTarget.cmake
  DESTINATION ${_config_dir} COMPONENT development)
