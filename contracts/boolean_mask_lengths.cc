#include "contracts/boolean_mask_lengths.h"

#include <limits>

#include "contracts/check.h"

namespace caffe2op_mask {

CountedMask BindBooleanMaskLengths(
    const char* op, const TensorView& lengths, const TensorView& mask) {
  const bool* const data = MaskData(op, "mask", mask);
  Require(mask.rank() >= 1, op, ": mask must have at least one dim, but is of shape [].");
  if (mask.rank() == 1) {
    const bool is_int32 = IsInt32(op, "lengths", lengths);
    return {data, false, mask.sizes[0], is_int32 ? ElementType::kInt32 : ElementType::kInt64};
  }
  const bool is_int64 = lengths.Is(ElementType::kInt64);
  const CountedMask counted{
      data, true, Product(mask.sizes.From(1)),
      is_int64 ? ElementType::kInt64 : ElementType::kInt32};
  Require(
      lengths.rank() >= 1 && lengths.sizes[0] == mask.sizes[0], op,
      ": with a mask of 2 or more dims, input 0 must have the mask's first dim, but is of shape ",
      lengths.sizes, " and mask of shape ", mask.sizes, ".");
  Require(
      is_int64 || counted.columns <= int64_t{std::numeric_limits<int32_t>::max()}, op,
      ": a row of mask has ", counted.columns,
      " entries, more than int32 counts; give an int64 input 0.");
  // Rows without entries take no memory, so that there may be more than counts have room for.
  CheckOutputSize(op, "masked_lengths", mask.sizes.First(1), counted.type);
  return counted;
}

template <typename Index>
void CheckSegmentLengths(
    const char* op, const TensorView& lengths, int64_t entries, SegmentTable* table,
    ParallelFor parallel_for) {
  Require(
      lengths.rank() == 1, op, ": lengths must have 1 dim, but is of shape ", lengths.sizes, ".");
  const Index* const values = lengths.As<Index>();
  const LengthsSum sum = SumLengths(values, lengths.sizes[0], table, parallel_for);
  Require(
      sum.negative < 0, op, ": lengths must not be negative, but lengths[", sum.negative, "] is ",
      sum.negative < 0 ? 0 : int64_t{values[sum.negative]}, ".");
  Require(
      sum.overflow < 0, op, ": lengths must add up to the ", entries,
      " entries of mask, but pass 2^63 - 1 at lengths[", sum.overflow, "].");
  Require(
      sum.total == entries, op, ": lengths must add up to the ", entries,
      " entries of mask, but add up to ", sum.total, ".");
}

template void CheckSegmentLengths<int32_t>(
    const char*, const TensorView&, int64_t, SegmentTable*, ParallelFor);
template void CheckSegmentLengths<int64_t>(
    const char*, const TensorView&, int64_t, SegmentTable*, ParallelFor);

}  // namespace caffe2op_mask
