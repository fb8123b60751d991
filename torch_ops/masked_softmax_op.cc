#include <string>
#include <tuple>

#include "contracts/masked_softmax.h"
#include "torch_ops/library.h"
#include "torch_ops/score_arguments.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

std::tuple<Tensor, Tensor> MaskedSoftmaxOp(
    const Tensor& x, const std::optional<Tensor>& lengths, const std::optional<Tensor>& centers,
    const std::optional<Tensor>& left_pad, const std::optional<Tensor>& mask,
    const std::optional<Tensor>& bias, const std::string& mode, int64_t radius, int64_t diagonal,
    int64_t window_left, int64_t window_right, std::optional<double> scale,
    const std::string& empty_row, bool log, bool return_lse) {
  constexpr const char* kOp = "masked_softmax";
  const ScoreArguments arguments(
      kOp, {lengths, centers, left_pad, mask, bias, /*sinks=*/std::nullopt});
  const SoftmaxContract contract(
      kOp, {arguments.Options(mode, radius, diagonal, window_left, window_right, scale, empty_row),
            /*axis=*/std::nullopt, log});
  const Input in(kOp, "x", x);
  const SoftmaxContract::Bound bound =
      contract.Bind(*in, arguments.Views(contract.scores()), return_lse);
  Tensor y = MakeLike(in);
  Tensor lse = return_lse ? Make(LogSumExpSizes(in->sizes), WideOf(bound.scores.type)) : None();
  MaskedSoftmax(
      bound.scores, bound.mask, contract.scores().empty_row(), contract.form(), DataOf(&y),
      return_lse ? DataOf(&lse) : nullptr, TorchParallelFor);
  return {y, lse};
}

// d_bias is empty unless want_bias.
std::tuple<Tensor, Tensor> MaskedSoftmaxBackwardOp(
    const Tensor& y, const std::optional<Tensor>& d_y, const std::optional<Tensor>& d_lse,
    const std::optional<Tensor>& x, const std::optional<Tensor>& lengths,
    const std::optional<Tensor>& centers, const std::optional<Tensor>& left_pad,
    const std::optional<Tensor>& mask, const std::optional<Tensor>& bias, const std::string& mode,
    int64_t radius, int64_t diagonal, int64_t window_left, int64_t window_right,
    std::optional<double> scale, const std::string& empty_row, bool log, bool want_bias) {
  constexpr const char* kOp = "masked_softmax_backward";
  const ScoreArguments arguments(
      kOp, {lengths, centers, left_pad, mask, bias, /*sinks=*/std::nullopt});
  const SoftmaxContract contract(
      kOp, {arguments.Options(mode, radius, diagonal, window_left, window_right, scale, empty_row),
            /*axis=*/std::nullopt, log});
  const Input of_y(kOp, "y", y);
  const Input of_d_y(kOp, "d_y", d_y);
  const Input of_d_lse(kOp, "d_lse", d_lse);
  const Input of_x = contract.gradient_takes_x() ? Given(kOp, "x", x) : Input();
  Require(
      !want_bias || bias.has_value(), kOp, ": bias must be given for its gradient, but is not.");
  SoftmaxContract::GradientInputs inputs;
  inputs.y = *of_y;
  inputs.d_y = of_d_y.get();
  inputs.d_lse = of_d_lse.get();
  inputs.x = of_x.get();
  inputs.scores = arguments.Views(contract.scores());
  const SoftmaxContract::Bound bound = contract.BindGradient(inputs);
  Tensor d_x = MakeLike(of_y);
  SoftmaxOutputs outputs{contract.form(), of_y->data, of_d_y->data, of_d_lse->data};
  if (inputs.d_y == nullptr) {
    // A gradient of zeros, which the kernel may overwrite.
    Clear(&d_x);
    outputs.d_y = DataOf(&d_x);
  }
  Tensor d_bias = want_bias ? MakeLike(arguments.bias()) : None();
  MaskedSoftmaxGradient(
      bound.scores, bound.mask, outputs, DataOf(&d_x), want_bias ? DataOf(&d_bias) : nullptr,
      TorchParallelFor);
  return {d_x, d_bias};
}

}  // namespace

#define OF_SCORES                                                                          \
  "Tensor? lengths=None, Tensor? centers=None, Tensor? left_pad=None, Tensor? mask=None, " \
  "Tensor? bias=None, " SCORE_OPTIONS ", bool log=False, "

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m, "masked_softmax(Tensor x, " OF_SCORES "bool return_lse=False) -> (Tensor y, Tensor lse)");
  Define(
      &m, "masked_softmax_backward(Tensor y, Tensor? d_y, Tensor? d_lse, Tensor? x, " OF_SCORES
          "bool want_bias=False) -> (Tensor d_x, Tensor d_bias)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "masked_softmax", TORCH_BOX(&MaskedSoftmaxOp));
  Implement(&m, "masked_softmax_backward", TORCH_BOX(&MaskedSoftmaxBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
