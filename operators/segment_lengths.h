#pragma once

// Lengths that cut a 1-D mask into segments: BooleanMaskLengths and
// BooleanMaskJagged read and check them alike.

#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/boolean_mask_lengths.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

// Throws unless `lengths` is 1-D, none is negative and they add up to the
// `entries` of the mask. Fills `starts` for CountTrueInSegments.
template <typename Index>
void CheckSegmentLengths(
    const char* op, const Tensor& lengths, int64_t entries,
    std::vector<caffe2op_mask::GroupStart>* starts) {
  CAFFE_ENFORCE(
      lengths.dim() == 1, op, ": lengths must have 1 dim, but is of shape ",
      ShapeName(lengths.sizes()), ".");
  const Index* const values = lengths.data<Index>();
  const int64_t segments = lengths.numel();
  starts->resize(static_cast<size_t>(caffe2op_mask::NumGroups(entries)));
  const caffe2op_mask::LengthsSum sum =
      caffe2op_mask::SumLengths(values, segments, entries, starts->data());
  CAFFE_ENFORCE(
      sum.negative < 0, op, ": lengths must not be negative, but lengths[", sum.negative, "] is ",
      values[sum.negative < 0 ? 0 : sum.negative], ".");
  CAFFE_ENFORCE(
      sum.overflow < 0, op, ": lengths must add up to the ", entries,
      " entries of mask, but pass 2^63 - 1 at lengths[", sum.overflow, "].");
  CAFFE_ENFORCE(
      sum.total == entries, op, ": lengths must add up to the ", entries,
      " entries of mask, but add up to ", sum.total, ".");
}

// Calls op->DoRunWithType<Index>() for int32 or int64 lengths.
template <class Op>
bool DispatchIndex(Op* op, const char* op_name, const char* name, const Tensor& tensor) {
  CAFFE_ENFORCE(
      tensor.dtype().Match<int32_t>() || tensor.dtype().Match<int64_t>(), op_name, ": ", name,
      " must be of type int32 or int64, but is ", TypeName(tensor.dtype()), ".");
  return DispatchHelper<TensorTypes<int32_t, int64_t>>::call(op, tensor);
}

}  // namespace mask
}  // namespace caffe2
