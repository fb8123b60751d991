#pragma once

// Lengths that cut a 1-D mask into segments: BooleanMaskLengths and
// BooleanMaskJagged read and check them alike.

#include "caffe2/core/operator.h"
#include "kernels/boolean_mask_lengths.h"
#include "operators/check.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

// Throws unless `lengths` is 1-D, none is negative and they add up to the
// `entries` of the mask. Fills `table` for CountTrueInSegments.
template <typename Index>
void CheckSegmentLengths(
    const char* op, const Tensor& lengths, int64_t entries, caffe2op_mask::SegmentTable* table) {
  CAFFE_ENFORCE(
      lengths.dim() == 1, op, ": lengths must have 1 dim, but is of shape ",
      ShapeName(lengths.sizes()), ".");
  const Index* const values = lengths.data<Index>();
  const int64_t segments = lengths.numel();
  const caffe2op_mask::LengthsSum sum =
      caffe2op_mask::SumLengths(values, segments, table, AtParallelFor);
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

// Throws unless lengths are int32 or int64; true where they are int32.
inline bool IsInt32(const char* op, const Tensor& lengths) {
  const TypeMeta type = lengths.dtype();
  CAFFE_ENFORCE(
      type.Match<int32_t>() || type.Match<int64_t>(), op,
      ": lengths must be of type int32 or int64, but is ", TypeName(type), ".");
  return type.Match<int32_t>();
}

}  // namespace mask
}  // namespace caffe2
