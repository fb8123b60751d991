#include "kernels/sequence_mask.h"

#include <variant>

namespace caffe2op_mask {

void RepeatedMask(
    int64_t left, int64_t masked_dims, int64_t repeated_dims, int64_t width, const void* in,
    const IntersectionFunctor& functor, uint64_t fill_pattern, void* out,
    ParallelFor parallel_for) {
  const auto mask = [&](const auto& one) {
    RepeatedMaskWithFunctor(
        left, masked_dims, repeated_dims, width, in, one, fill_pattern, out, parallel_for);
  };
  // A single shape is by far the most common: it runs with its own type.
  if (functor.size() == 1) {
    std::visit(mask, functor.part(0));
  } else {
    mask(functor);
  }
}

}  // namespace caffe2op_mask
