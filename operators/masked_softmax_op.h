#pragma once

#include "contracts/masked_softmax.h"
#include "operators/score_operator.h"

namespace caffe2 {
namespace mask {

// MaskedSoftmax(X [, lengths] [, centers] [, left_pad] [, mask] [, bias]) -> Y [, LSE]
class MaskedSoftmaxOp final : public ScoreOperator {
 public:
  MaskedSoftmaxOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Softmax();

  const caffe2op_mask::SoftmaxContract contract_;
};

// MaskedSoftmaxGradient(Y [, dY] [, dLSE] [, X] [, lengths] [, centers] [, left_pad] [, mask]
//   [, bias])
//   -> dX [, dbias]
// X comes where empty rows are not zeros: there their scores show them.
class MaskedSoftmaxGradientOp final : public ScoreOperator {
 public:
  MaskedSoftmaxGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Gradient();

  const caffe2op_mask::SoftmaxContract contract_;
  const bool has_d_y_;
  const bool has_d_lse_;
};

void FillMaskedSoftmaxSchema(OpSchema& schema);
void FillMaskedSoftmaxGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
