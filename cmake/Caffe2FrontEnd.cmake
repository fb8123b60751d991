# The library that a Caffe2 process loads: operators, gradients and registry on top of the core.

find_package(Caffe2Runtime REQUIRED)
include(ProtobufLite)

# Libraries of the runtime have undefined symbols of MKL, which nobody calls.
set(_link_to_runtime LINKER:--allow-shlib-undefined)

# What a program, or a library, is compiled with for the runtime.
add_library(caffe2_runtime INTERFACE)
target_compile_features(caffe2_runtime INTERFACE cxx_std_14)
target_link_libraries(caffe2_runtime INTERFACE protobuf_lite Caffe2::Runtime)
target_link_options(caffe2_runtime INTERFACE ${_link_to_runtime})

# The library that a Caffe2 process loads.
add_library(caffe2op_mask SHARED
  gradients/bernoulli_mask_gradient.cc
  gradients/boolean_mask_gradient.cc
  gradients/boolean_mask_jagged_gradient.cc
  gradients/boolean_unmask_gradient.cc
  gradients/gate_gradient.cc
  gradients/gradient_maker.cc
  gradients/highway_gradient.cc
  gradients/masked_attention_gradient.cc
  gradients/masked_softmax_gradient.cc
  gradients/mixture_gate_gradient.cc
  gradients/sequence_mask_gradient.cc
  operators/arguments.cc
  operators/attention_operator.cc
  operators/bernoulli_mask_op.cc
  operators/boolean_mask_jagged_op.cc
  operators/boolean_mask_lengths_op.cc
  operators/boolean_mask_op.cc
  operators/boolean_unmask_op.cc
  operators/gate_op.cc
  operators/highway_op.cc
  operators/known_arguments.cc
  operators/mask_operator.cc
  operators/masked_attention_jagged_op.cc
  operators/masked_attention_op.cc
  operators/masked_softmax_op.cc
  operators/mixture_gate_op.cc
  operators/random_mask_op.cc
  operators/score_operator.cc
  operators/sequence_mask_op.cc
  registry/library_info.cc
  registry/register.cc)
target_link_libraries(caffe2op_mask PRIVATE strict contracts caffe2_runtime)
# The runtime's headers are most of what a file compiles.
option(CAFFE2OP_MASK_UNITY "Compile several operators at once: quicker from nothing, slower after a change" OFF)
set_target_properties(caffe2op_mask PROPERTIES
  UNITY_BUILD ${CAFFE2OP_MASK_UNITY} UNITY_BUILD_BATCH_SIZE 16)
target_compile_definitions(caffe2op_mask PRIVATE
  CAFFE2OP_MASK_VERSION="${PROJECT_VERSION}"
  BUILT_FOR="torch=${Caffe2Runtime_VERSION},abi=${Caffe2Runtime_CXX11_ABI},protobuf=${PROTOBUF_USED}")
file(RELATIVE_PATH _up ${CMAKE_CURRENT_BINARY_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(caffe2op_mask PRIVATE -ffile-prefix-map=${_up}=)
set_target_properties(caffe2op_mask PROPERTIES
  # Before 1.0 a minor version may take away what the one before it had.
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
  BUILD_RPATH "${Caffe2Runtime_LIBRARY_DIR}"
  # Not INSTALL_RPATH_USE_LINK_PATH, which leaves out what lies in this folder, as .venv does.
  INSTALL_RPATH "${Caffe2Runtime_LIBRARY_DIR}")
# None of protobuf's symbols may be seen from outside. All are bound on loading, so that one which
# nobody has fails there and not in a net. dlclose leaves it: the runtime has its functions.
target_link_options(caffe2op_mask PRIVATE -Wl,--exclude-libs,ALL -Wl,-z,now -Wl,-z,nodelete
  # Loading it registers the operators, though a program may name not one symbol of it.
  INTERFACE LINKER:--no-as-needed ${_link_to_runtime})

# It is installed beside torch in site-packages; a process that has Caffe2 has its libraries loaded.
include(PythonLibrary)
python_library(python_library caffe2op_mask "$ORIGIN/../torch/lib")

include(Install)

if(BUILD_TESTING)
  add_subdirectory(tests/cpp/operators)
endif()
