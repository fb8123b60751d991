#pragma once

#include "caffe2/core/operator.h"
#include "operators/arguments.h"

namespace caffe2 {
namespace mask {

// BooleanMask(data, mask) -> masked [, indices]
class BooleanMaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BooleanMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  // With keep_shape: T is what the fill value becomes.
  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  // Without: rows move as bytes, or by their own copy where they are not plain.
  bool Compact(const Tensor& data, const Tensor& mask);

  const bool keep_shape_;
  const Number fill_val_;
};

// BooleanMaskGradient(mask, d_masked) -> d_data
class BooleanMaskGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BooleanMaskGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const bool keep_shape_;
};

void FillBooleanMaskSchema(OpSchema& schema);
void FillBooleanMaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
