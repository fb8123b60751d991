# What every front end is made of, and fuzz targets test: kernels, and contracts on top of them.

get_filename_component(CORE_DIR ${CMAKE_CURRENT_LIST_DIR}/.. ABSOLUTE)

find_path(HWY_INCLUDE_DIR hwy/highway.h)
find_library(HWY_LIBRARY hwy)
if(NOT HWY_INCLUDE_DIR OR NOT HWY_LIBRARY)
  message(FATAL_ERROR "Google Highway is missing; Debian has it as libhwy-dev.")
endif()

# Our own code, not what it includes, is held to these.
add_library(strict INTERFACE)
target_compile_options(strict INTERFACE
  -Wall -Wextra -Wconversion -Wsign-conversion -Werror
  # Messages and __FILE__ tell a place in the project, not on a machine.
  -ffile-prefix-map=${CORE_DIR}/=)
target_include_directories(strict INTERFACE ${CORE_DIR})

# Those of the runtime and of GoogleTest are not instrumented; tools/sanitize.sh knows what that takes.
set(CAFFE2OP_MASK_SANITIZE "" CACHE STRING "Sanitizers for our code, such as address,undefined")
if(CAFFE2OP_MASK_SANITIZE)
  target_compile_options(strict INTERFACE
    -fsanitize=${CAFFE2OP_MASK_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(strict INTERFACE -fsanitize=${CAFFE2OP_MASK_SANITIZE})
endif()

# Kernels and contracts: no header of a runtime, so that they build, and are tested, without one, and
# one build serves every front end, whatever the ABI of its strings.
set(_kernels
  kernels/attention_bias_gradient.cc
  kernels/attention_entries.cc
  kernels/attention_exponents.cc
  kernels/attention_gradient_entries.cc
  kernels/attention_gradient_work.cc
  kernels/attention_tile.cc
  kernels/attention_work.cc
  kernels/boolean_mask.cc
  kernels/boolean_mask_lengths.cc
  kernels/boolean_unmask.cc
  kernels/broadcast.cc
  kernels/chunk.cc
  kernels/fill.cc
  kernels/gate.cc
  kernels/masked_attention.cc
  kernels/masked_attention_gradient.cc
  kernels/masked_fill.cc
  kernels/masked_softmax.cc
  kernels/mixture_gate.cc
  kernels/random_mask.cc
  kernels/real.cc
  kernels/sequence_mask.cc
  kernels/softmax_steps.cc
  kernels/target.cc
  kernels/tile_product.cc)
set(_contracts
  contracts/bernoulli_mask.cc
  contracts/boolean_mask.cc
  contracts/boolean_mask_jagged.cc
  contracts/boolean_mask_lengths.cc
  contracts/boolean_unmask.cc
  contracts/check.cc
  contracts/error.cc
  contracts/fill_value.cc
  contracts/gate.cc
  contracts/mask_shape.cc
  contracts/masked_attention.cc
  contracts/masked_attention_jagged.cc
  contracts/masked_softmax.cc
  contracts/mixture_gate.cc
  contracts/random_mask.cc
  contracts/scores.cc
  contracts/sequence_mask.cc
  contracts/sizes.cc
  contracts/tensor_view.cc)
list(TRANSFORM _kernels PREPEND ${CORE_DIR}/)
list(TRANSFORM _contracts PREPEND ${CORE_DIR}/)
add_library(kernels STATIC ${_kernels})
add_library(contracts STATIC ${_contracts})
target_link_libraries(kernels PRIVATE strict PUBLIC ${HWY_LIBRARY})
target_include_directories(kernels SYSTEM PRIVATE ${HWY_INCLUDE_DIR})
# The newest AVX-512 machines compress bytes and 16-bit lanes too. Highway compiles for them with an
# attribute that g++ before 11 does not know.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles(
  "__attribute__((target(\"avxvnni\"))) int main() {}" HAVE_AVX3_DL FAIL_REGEX "unknown")
if(HAVE_AVX3_DL)
  target_compile_definitions(kernels PRIVATE HWY_WANT_AVX3_DL)
endif()
target_link_libraries(contracts PRIVATE strict PUBLIC kernels)
set_target_properties(kernels contracts PROPERTIES
  POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)

