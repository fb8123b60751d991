#include "contracts/masked_softmax.h"

#include "contracts/check.h"

namespace caffe2op_mask {

SoftmaxContract::SoftmaxContract(const char* op, const SoftmaxOptions& options)
    : op_(op),
      scores_(op, options.scores),
      axis_(options.axis),
      form_(options.log ? SoftmaxForm::kLog : SoftmaxForm::kPlain) {}

SoftmaxContract::Bound SoftmaxContract::BindRows(
    const char* name, const TensorView& rows, const ScoreInputs& inputs) const {
  Bound bound{};
  Scores& scores = bound.scores;
  scores.type = RealOf(rows.type);
  scores.columns = rows.sizes.FromBack(1);
  scores.rows = Product(LogSumExpSizes(rows.sizes));
  scores.scale = scores_.Scale(1, scores.type);
  bound.mask = scores_.Mask(inputs, name, rows.sizes);
  if (scores_.has_bias()) {
    scores.bias_rows = scores_.BiasRows(inputs.bias, name, rows.sizes, rows);
    scores.bias = inputs.bias.data;
  }
  return bound;
}

SoftmaxContract::Bound SoftmaxContract::Bind(
    const TensorView& x, const ScoreInputs& inputs, bool lse) const {
  const Real type = RealType(op_, "X", x);
  Require(x.rank() >= 1, op_, ": X must have at least 1 dim, but has none.");
  const int64_t axis = axis_.value_or(-1);
  Require(
      axis == -1 || axis == x.rank() - 1, op_, ": argument axis must be the last of X, ",
      x.rank() - 1, " or -1, but is ", axis, ".");
  Bound bound = BindRows("X", x, inputs);
  bound.scores.x = x.data;
  // X without columns has no entries, however many its rows are.
  if (lse) CheckOutputSize(op_, "LSE", LogSumExpSizes(x.sizes), WideOf(type));
  return bound;
}

SoftmaxContract::Bound SoftmaxContract::BindGradient(const GradientInputs& inputs) const {
  const TensorView& y = inputs.y;
  const Real type = RealType(op_, "Y", y);
  Require(y.rank() >= 1, op_, ": Y must have at least 1 dim, but has none.");
  if (inputs.d_y != nullptr) CheckSame(op_, "dY", *inputs.d_y, "Y", y);
  if (inputs.x != nullptr) CheckSame(op_, "X", *inputs.x, "Y", y);
  if (inputs.d_lse != nullptr) {
    CheckIs(op_, "dLSE", *inputs.d_lse, LogSumExpSizes(y.sizes), WideOf(type));
  }
  Bound bound = BindRows("Y", y, inputs.scores);
  if (inputs.x != nullptr) bound.scores.x = inputs.x->data;
  return bound;
}

}  // namespace caffe2op_mask
