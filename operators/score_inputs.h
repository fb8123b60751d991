#pragma once

// What MaskedSoftmax and MaskedAttention share: the arguments and the optional
// inputs that say what is kept of their scores and what is added to them.

#include <array>
#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/masked_softmax.h"
#include "operators/mask_shape.h"
#include "operators/real.h"

namespace caffe2 {
namespace mask {

// The optional inputs that are there, in this order; null where not.
struct ScoreTensors {
  std::array<const Tensor*, kRowInputs> of_rows{};
  const Tensor* mask = nullptr;
  const Tensor* bias = nullptr;
  const Tensor* sinks = nullptr;  // of MaskedAttention alone
};

class ScoreInputs {
 public:
  // Reads mode, radius, diagonal, window_left, window_right, has_mask, has_bias, has_sinks,
  // scale and empty_row; throws where one is not what it should be.
  explicit ScoreInputs(const OperatorDef& def);

  // Throws unless the operator has those inputs that the arguments tell of, behind
  // its first ones, which are called `first`, as in "Q, K, V".
  void CheckInputs(const OperatorDef& def, const char* first, int first_count) const;

  bool has_bias() const { return has_bias_; }
  bool has_sinks() const { return has_sinks_; }
  double scale() const { return scale_; }  // 1 where there is none
  caffe2op_mask::EmptyRow empty_row() const { return empty_row_; }

  // The optional inputs of an operator, the first of them its `next`-th input.
  template <class Op>
  ScoreTensors Tensors(Op* op, int next) const {
    ScoreTensors tensors;
    for (const RowInput input : shape_.row_inputs()) tensors.of_rows[input] = &op->Input(next++);
    if (has_mask_) tensors.mask = &op->Input(next++);
    if (has_bias_) tensors.bias = &op->Input(next++);
    if (has_sinks_) tensors.sinks = &op->Input(next++);
    return tensors;
  }

  // What is kept of scores of these sizes, rank 1 or more. Rows stand at their index
  // in the dim before the last; `shifts`, unless empty, moves them by an entry for
  // each of `lengths` or one for all. Throws where a tensor is not what it should
  // be; `name` is what errors call the scores.
  caffe2op_mask::ScoreMask Mask(
      const ScoreTensors& tensors, const char* name, at::IntArrayRef sizes,
      const std::vector<int64_t>& shifts = {}) const;

  // How the bias lies on the scores; throws unless it is of `type` and can be
  // broadcast to them.
  caffe2op_mask::RowBroadcast BiasRows(
      const Tensor& bias, const char* name, at::IntArrayRef sizes, TypeMeta type) const;

 private:
  caffe2op_mask::RowBroadcast Broadcast(
      const char* input, const Tensor& tensor, const char* name, at::IntArrayRef sizes) const;
  caffe2op_mask::RowIndex RowsOf(
      const char* input, const Tensor& tensor, const char* name, at::IntArrayRef sizes) const;

  const std::string type_;  // of the operator, for errors
  const MaskShape shape_;
  const bool has_mask_;
  const bool has_bias_;
  const bool has_sinks_;
  const double scale_;
  caffe2op_mask::EmptyRow empty_row_;
};

}  // namespace mask
}  // namespace caffe2
