#pragma once

#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/masked_attention.h"
#include "operators/arguments.h"
#include "operators/score_inputs.h"

namespace caffe2 {
namespace mask {

// What MaskedAttention and its gradient read alike: arguments and inputs.
class AttentionInputs {
 public:
  explicit AttentionInputs(const OperatorDef& def);

  const ScoreInputs& scores() const { return scores_; }

  // Checks and gathers the inputs of an operator, Q, K and V its `first`-th and the
  // next, the optional ones from `optional` on.
  struct Bound {
    caffe2op_mask::Attention attention;
    ScoreTensors tensors;
    std::vector<int64_t> shifts;  // pointed to by the attention's mask
  };
  template <typename T, class Op>
  Bound Bind(Op* op, int first, int optional) const {
    Bound bound;
    bound.tensors = scores_.Tensors(op, optional);
    Fill<T>(op->Input(first), op->Input(first + 1), op->Input(first + 2), &bound);
    return bound;
  }

 private:
  template <typename T>
  void Fill(const Tensor& q, const Tensor& k, const Tensor& v, Bound* bound) const;
  std::vector<int64_t> Shifts(const Tensor* lengths, int64_t queries, int64_t keys) const;

  const std::string type_;  // of the operator, for errors
  const ScoreInputs scores_;
  const bool has_scale_;
  const double scale_;
  const double softcap_;
  bool bottom_right_;
};

// MaskedAttention(Q, K, V [, lengths] [, centers] [, left_pad] [, mask] [, bias] [, sinks])
//   -> O [, LSE]
class MaskedAttentionOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MaskedAttentionOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  const AttentionInputs inputs_;
};

// MaskedAttentionGradient([O, LSE,] [dO,] [dLSE,] Q, K, V [, lengths] [, centers] [, left_pad]
//   [, mask] [, bias] [, sinks]) -> dQ, dK, dV [, dbias] [, dsinks]
class MaskedAttentionGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MaskedAttentionGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  const AttentionInputs inputs_;
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
