#pragma once

#include "operators/attention_operator.h"

namespace caffe2 {
namespace mask {

// Q, K, V [, lengths] [, centers] [, left_pad] [, mask] [, bias] [, sinks]
class PaddedAttention : public ScoreOperator {
 public:
  using Contract = caffe2op_mask::AttentionContract;
  static constexpr const char* kOp = "MaskedAttention";
  static constexpr const char* kGradientOp = "MaskedAttentionGradient";

 protected:
  PaddedAttention(const OperatorDef& def, Workspace* ws, const char* op);

  void CheckInputs(const std::string& names, int count);
  void BindInputs(int first, Contract::Bound* bound);

  const Contract contract_;
};

extern template class AttentionOp<PaddedAttention>;
extern template class AttentionGradientOp<PaddedAttention>;
using MaskedAttentionOp = AttentionOp<PaddedAttention>;
using MaskedAttentionGradientOp = AttentionGradientOp<PaddedAttention>;

void FillMaskedAttentionSchema(OpSchema& schema);
void FillMaskedAttentionGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
