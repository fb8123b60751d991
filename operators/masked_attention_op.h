#pragma once

#include "contracts/masked_attention.h"
#include "operators/score_operator.h"

namespace caffe2 {
namespace mask {

// MaskedAttention(Q, K, V [, lengths] [, centers] [, left_pad] [, mask] [, bias] [, sinks])
//   -> O [, LSE]
class MaskedAttentionOp final : public ScoreOperator {
 public:
  MaskedAttentionOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Attend();

  const caffe2op_mask::AttentionContract contract_;
};

// MaskedAttentionGradient([O, LSE,] [dO,] [dLSE,] Q, K, V [, lengths] [, centers] [, left_pad]
//   [, mask] [, bias] [, sinks]) -> dQ, dK, dV [, dbias] [, dsinks]
class MaskedAttentionGradientOp final : public ScoreOperator {
 public:
  MaskedAttentionGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Gradient();
  void Clear(int output);

  const caffe2op_mask::AttentionContract contract_;
  const bool has_outputs_;
  const bool has_d_o_;
  const bool has_d_lse_;
  const int first_;  // which input Q is
  Tensor o_{CPU};    // O and LSE, where they are no inputs and so computed again
  Tensor lse_{CPU};
};

void FillMaskedAttentionSchema(OpSchema& schema);
void FillMaskedAttentionGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
