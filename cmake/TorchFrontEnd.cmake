# The library that a current PyTorch loads: operators on top of the core, by the stable ABI of LibTorch
# alone. One build serves every torch from the release named below on, and every Python.

set(TORCH_PYTHON "python3" CACHE STRING "Python that has the torch to build with")
include(AskPython)
ask_python(${TORCH_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/torch_runtime.py TorchRuntime
  "No PyTorch to build with: ")

add_library(caffe2op_mask_torch MODULE
  torch_ops/bernoulli_mask_op.cc
  torch_ops/boolean_mask_jagged_op.cc
  torch_ops/boolean_mask_lengths_op.cc
  torch_ops/boolean_mask_op.cc
  torch_ops/boolean_unmask_op.cc
  torch_ops/gate_op.cc
  torch_ops/highway_op.cc
  torch_ops/masked_attention_jagged_op.cc
  torch_ops/masked_attention_op.cc
  torch_ops/masked_softmax_op.cc
  torch_ops/mixture_gate_op.cc
  torch_ops/random_mask_op.cc
  torch_ops/score_arguments.cc
  torch_ops/sequence_mask_op.cc
  torch_ops/tensor.cc
  registry/library_info.cc)
# The release whose stable ABI is named: 2.10.
target_compile_definitions(caffe2op_mask_torch PRIVATE
  TORCH_TARGET_VERSION=0x020a000000000000
  CAFFE2OP_MASK_VERSION="${PROJECT_VERSION}"
  BUILT_FOR="torch=2.10")
target_include_directories(caffe2op_mask_torch SYSTEM PRIVATE ${TorchRuntime_INCLUDE_DIR})
find_library(TORCH_CPU_LIBRARY torch_cpu PATHS ${TorchRuntime_LIBRARY_DIR} NO_DEFAULT_PATH NO_CACHE)
target_link_libraries(caffe2op_mask_torch PRIVATE strict contracts ${TORCH_CPU_LIBRARY})
# It names no folder of torch, which is loaded before it, from wherever it lies.
set_target_properties(caffe2op_mask_torch PROPERTIES
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON SKIP_BUILD_RPATH ON)
target_link_options(caffe2op_mask_torch PRIVATE
  -Wl,--exclude-libs,ALL -Wl,-z,now -Wl,-z,nodelete -Wl,--allow-shlib-undefined)

include(PythonLibrary)
python_library(torch_library caffe2op_mask_torch "")
