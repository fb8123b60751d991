#pragma once

// The optional inputs of MaskedSoftmax, MaskedAttention and their gradients.

#include "caffe2/core/operator.h"
#include "contracts/scores.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

class ScoreOperator : public MaskOperator {
 public:
  using MaskOperator::MaskOperator;

 protected:
  // The optional inputs that there are, the first of them the `next`-th input.
  caffe2op_mask::ScoreInputs Views(const caffe2op_mask::ScoreContract& contract, int next) {
    caffe2op_mask::ScoreInputs inputs;
    contract.ForEach(
        &inputs, [&](const char*, caffe2op_mask::TensorView* one) { *one = View(next++); });
    return inputs;
  }
};

// Throws unless a definition has the inputs that its arguments ask for, behind its first ones,
// which are called `first`, as in "Q, K, V".
void CheckScoreInputs(
    const OperatorDef& def, const caffe2op_mask::ScoreContract& contract, const char* first,
    int first_count);

}  // namespace mask
}  // namespace caffe2
