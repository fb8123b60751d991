#include "contracts/boolean_mask_jagged.h"

#include "contracts/check.h"

namespace caffe2op_mask {

RowMask BindBooleanMaskJagged(const char* op, const TensorView& values, const TensorView& mask) {
  const bool* const keep = MaskData(op, "mask", mask);
  Require(mask.rank() == 1, op, ": mask must have 1 dim, but is of shape ", mask.sizes, ".");
  CheckLeadingDims(op, "mask", mask.sizes, "values", values.sizes);
  Require(
      values.is_plain, op, ": values must be numbers or bool, but are of type ", values.type_name(),
      ".");
  return {keep, mask.numel(), values.sizes.From(1)};
}

}  // namespace caffe2op_mask
