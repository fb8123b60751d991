#pragma once

#include <optional>

#include "caffe2/core/operator.h"
#include "operators/arguments.h"
#include "operators/score_inputs.h"

namespace caffe2 {
namespace mask {

// MaskedSoftmax(X [, lengths] [, centers] [, left_pad] [, mask] [, bias]) -> Y
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
};

// MaskedSoftmaxGradient(Y, dY [, X] [, lengths] [, centers] [, left_pad] [, mask] [, bias])
//   -> dX [, dbias]
// X comes where empty rows are not zeros: there they are told from their scores.
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
  const bool has_x_;
};

void FillMaskedSoftmaxSchema(OpSchema& schema);
void FillMaskedSoftmaxGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
