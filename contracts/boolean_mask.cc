#include "contracts/boolean_mask.h"

#include "contracts/check.h"
#include "contracts/fill_value.h"

namespace caffe2op_mask {

void CheckBooleanMaskOptions(const char* op, bool keep_shape, bool has_fill_val) {
  Require(
      keep_shape || !has_fill_val, op,
      ": argument fill_val goes with keep_shape = 1, but keep_shape is 0.");
}

RowMask BindBooleanMask(const char* op, const TensorView& data, const TensorView& mask) {
  const bool* const keep = MaskData(op, "mask", mask);
  CheckLeadingDims(op, "mask", mask.sizes, "data", data.sizes);
  return {keep, mask.numel(), data.sizes.From(mask.rank())};
}

uint64_t BooleanMaskFill(const char* op, const Number& fill_val, const TensorView& data) {
  Require(
      !data.Is(ElementType::kOther), op,
      ": with keep_shape data must be a number or bool, but is of type ", data.type_name(), ".");
  return FillValue(op, fill_val, data.type);
}

RowMask BindBooleanMaskGradient(
    const char* op, const TensorView& mask, const TensorView& d_masked, bool keep_shape) {
  Require(
      d_masked.is_plain, op, ": d_masked must be a number or bool, but is of type ",
      d_masked.type_name(), ".");
  RowMask rows{MaskData(op, "mask", mask), mask.numel(), {}};
  if (keep_shape) {
    CheckLeadingDims(op, "mask", mask.sizes, "d_masked", d_masked.sizes);
    rows.row = d_masked.sizes.From(mask.rank());
    return rows;
  }
  Require(mask.rank() > 0, op, ": mask must have at least one dim, but is of shape [].");
  Require(d_masked.rank() > 0, op, ": d_masked must have at least one dim, but is of shape [].");
  rows.row = d_masked.sizes.From(1);
  return rows;
}

Dims BooleanMaskGradientSizes(
    const char* op, const TensorView& mask, const TensorView& d_masked, int64_t kept) {
  Require(
      d_masked.sizes[0] == kept, op, ": d_masked must have one row for each of the ", kept,
      " True of mask, but is of shape ", d_masked.sizes, ".");
  Dims sizes = mask.sizes;
  sizes.Append(d_masked.sizes.From(1));
  CheckOutputSize(op, "d_data", sizes, d_masked);
  return sizes;
}

}  // namespace caffe2op_mask
