#pragma once

#include "contracts/boolean_mask.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// BooleanMask(data, mask) -> masked [, indices]
class BooleanMaskOp final : public MaskOperator {
 public:
  BooleanMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool KeepShape();
  // Rows move as bytes, or by their own copy where they are not plain.
  bool Compact();

  const bool keep_shape_;
  const caffe2op_mask::Number fill_val_;
};

// BooleanMaskGradient(mask, d_masked) -> d_data
class BooleanMaskGradientOp final : public MaskOperator {
 public:
  BooleanMaskGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Expand();

  const bool keep_shape_;
};

void FillBooleanMaskSchema(OpSchema& schema);
void FillBooleanMaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
