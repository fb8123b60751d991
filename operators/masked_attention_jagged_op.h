#pragma once

#include "contracts/masked_attention_jagged.h"
#include "operators/attention_operator.h"

namespace caffe2 {
namespace mask {

// Q, K, V, lengths [, key_lengths] [, used_keys] [, sinks]
class JaggedAttention : public ScoreOperator {
 public:
  using Contract = caffe2op_mask::JaggedAttentionContract;
  static constexpr const char* kOp = "MaskedAttentionJagged";
  static constexpr const char* kGradientOp = "MaskedAttentionJaggedGradient";

 protected:
  JaggedAttention(const OperatorDef& def, Workspace* ws, const char* op);

  void CheckInputs(const std::string& names, int count);
  void BindInputs(int first, Contract::Bound* bound);

  const Contract contract_;

 private:
  const bool has_key_lengths_;
  const bool has_used_keys_;
};

extern template class AttentionOp<JaggedAttention>;
extern template class AttentionGradientOp<JaggedAttention>;
using MaskedAttentionJaggedOp = AttentionOp<JaggedAttention>;
using MaskedAttentionJaggedGradientOp = AttentionGradientOp<JaggedAttention>;

void FillMaskedAttentionJaggedSchema(OpSchema& schema);
void FillMaskedAttentionJaggedGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
