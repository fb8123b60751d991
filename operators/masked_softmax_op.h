#pragma once

#include <optional>

#include "caffe2/core/operator.h"
#include "operators/arguments.h"
#include "operators/score_inputs.h"

namespace caffe2 {
namespace mask {

// MaskedSoftmax(X [, lengths] [, centers] [, left_pad] [, mask] [, bias]) -> Y [, LSE]
class MaskedSoftmaxOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MaskedSoftmaxOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  const ScoreInputs inputs_;
  const std::optional<int64_t> axis_;
  const caffe2op_mask::SoftmaxForm form_;
};

// MaskedSoftmaxGradient(Y [, dY] [, dLSE] [, X] [, lengths] [, centers] [, left_pad] [, mask]
//   [, bias])
//   -> dX [, dbias]
// X comes where empty rows are not zeros: there their scores show them.
class MaskedSoftmaxGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MaskedSoftmaxGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  const ScoreInputs inputs_;
  const caffe2op_mask::SoftmaxForm form_;
  const bool has_d_y_;
  const bool has_d_lse_;
  const bool has_x_;
  const int first_;  // how many inputs come before the optional ones
};

void FillMaskedSoftmaxSchema(OpSchema& schema);
void FillMaskedSoftmaxGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
