#pragma once

// BooleanMaskLengths: what it takes; and lengths that cut a mask into segments.

#include "contracts/tensor_view.h"
#include "kernels/boolean_mask_lengths.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// A mask whose rows are counted, or segments that lengths cut it into.
struct CountedMask {
  const bool* mask;
  bool by_rows;
  int64_t columns;   // of a row; of segments all entries
  ElementType type;  // of masked_lengths, kInt32 or kInt64
};

// The first input is lengths or, where the mask has rows, any tensor, whose data is not read.
CountedMask BindBooleanMaskLengths(
    const char* op, const TensorView& lengths, const TensorView& mask);

// Sizes of masked_lengths: of no dims where neither input says.
inline Sizes MaskedLengthsSizes(Sizes lengths, Sizes mask) {
  const Sizes counted = mask.rank() > 1 ? mask : lengths;
  return counted.First(counted.rank() > 0 ? 1 : 0);
}

// Throws unless `lengths` is 1-D, none is negative and they add up to the `entries` of the mask.
// Fills `table` for CountTrueInSegments.
template <typename Index>
void CheckSegmentLengths(
    const char* op, const TensorView& lengths, int64_t entries, SegmentTable* table,
    ParallelFor parallel_for);

}  // namespace caffe2op_mask
