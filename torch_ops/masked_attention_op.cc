#include <string>
#include <tuple>

#include "contracts/masked_attention.h"
#include "torch_ops/attention_outputs.h"
#include "torch_ops/library.h"
#include "torch_ops/score_arguments.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

// Q, K, V and what is kept of their scores, as the operator and its gradient take them.
struct AttentionInputs {
  AttentionContract contract;
  ScoreInputs scores;
  Input q;
  Input k;
  Input v;
  AttentionContract::Bound bound;

  AttentionInputs(
      const char* op, const ScoreArguments& arguments, const ScoreOptions& options, double softcap,
      const std::string& align, const Tensor& of_q, const Tensor& of_k, const Tensor& of_v)
      : contract(op, {options, RealNumber(softcap), align}),
        scores(arguments.Views(contract.scores())),
        q(op, "q", of_q, Input::Layout::kRows),
        k(op, "k", of_k, Input::Layout::kRows),
        v(op, "v", of_v, Input::Layout::kRows) {
    contract.Bind(*q, *k, *v, scores, &bound);
  }

  // Whether there are scores to compute.
  bool has_scores() const { return bound.attention.kv_heads > 0; }
  Dims OutputSizes() const { return AttentionSizes(q->sizes, v->sizes); }
};

OutputRows RowsOf(Tensor* tensor) {
  const auto sizes = tensor->sizes();
  return {
      DataOf(tensor),
      RowStridesOf({sizes.data(), static_cast<int64_t>(sizes.size())}, StridesOf(*tensor))};
}

std::tuple<Tensor, Tensor> MaskedAttentionOp(
    const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& lengths,
    const std::optional<Tensor>& centers, const std::optional<Tensor>& left_pad,
    const std::optional<Tensor>& mask, const std::optional<Tensor>& bias,
    const std::optional<Tensor>& sinks, const std::string& mode, int64_t radius, int64_t diagonal,
    int64_t window_left, int64_t window_right, std::optional<double> scale,
    const std::string& empty_row, double softcap, const std::string& align, bool return_lse) {
  constexpr const char* kOp = "masked_attention";
  const ScoreArguments arguments(kOp, {lengths, centers, left_pad, mask, bias, sinks});
  const AttentionInputs in(
      kOp, arguments,
      arguments.Options(mode, radius, diagonal, window_left, window_right, scale, empty_row),
      softcap, align, q, k, v);
  const Dims sizes = in.OutputSizes();
  in.contract.CheckOutputs(*in.q, sizes, return_lse);
  const Sizes rows = LogSumExpSizes(sizes);
  Tensor o = MakeRows(sizes, in.q);
  Tensor lse = return_lse ? Make(rows, WideOf(in.bound.attention.type)) : None();
  OutputRows of_lse{};
  if (return_lse) of_lse = {DataOf(&lse), EntryStridesOf(rows)};
  if (in.has_scores()) {
    MaskedAttention(in.bound.attention, RowsOf(&o), of_lse, ThreadCount(), TorchParallelFor);
  }
  return {o, lse};
}

// d_bias is empty unless want_bias, d_sinks unless there are sinks.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> MaskedAttentionBackwardOp(
    const Tensor& o, const Tensor& lse, const std::optional<Tensor>& d_o,
    const std::optional<Tensor>& d_lse, const Tensor& q, const Tensor& k, const Tensor& v,
    const std::optional<Tensor>& lengths, const std::optional<Tensor>& centers,
    const std::optional<Tensor>& left_pad, const std::optional<Tensor>& mask,
    const std::optional<Tensor>& bias, const std::optional<Tensor>& sinks, const std::string& mode,
    int64_t radius, int64_t diagonal, int64_t window_left, int64_t window_right,
    std::optional<double> scale, const std::string& empty_row, double softcap,
    const std::string& align, bool want_bias) {
  constexpr const char* kOp = "masked_attention_backward";
  const ScoreArguments arguments(kOp, {lengths, centers, left_pad, mask, bias, sinks});
  Require(
      !want_bias || bias.has_value(), kOp, ": bias must be given for its gradient, but is not.");
  AttentionInputs in(
      kOp, arguments,
      arguments.Options(mode, radius, diagonal, window_left, window_right, scale, empty_row),
      softcap, align, q, k, v);
  const AttentionOutputInputs given(kOp, o, lse, d_o, d_lse);
  const AttentionOutputs outputs = BindAttentionOutputs(
      in.contract, given.Views(), *in.q, in.OutputSizes(), &in.bound.attention);
  Tensor d_q = MakeRows(in.q->sizes, in.q);
  Tensor d_k = MakeRows(in.k->sizes, in.k);
  Tensor d_v = MakeRows(in.v->sizes, in.v);
  Tensor d_bias = want_bias ? MakeLike(arguments.bias()) : None();
  Tensor d_sinks = sinks ? MakeLike(arguments.sinks()) : None();
  if (!in.has_scores()) {
    // No scores, and so nothing that would add to a gradient.
    for (Tensor* const one : {&d_q, &d_k, &d_v, &d_bias, &d_sinks}) Clear(one);
    return {d_q, d_k, d_v, d_bias, d_sinks};
  }
  if (!d_o) Clear(&d_v);
  AttentionGradient gradient{};
  gradient.dq = RowsOf(&d_q);
  gradient.dk = RowsOf(&d_k);
  gradient.dv = RowsOf(&d_v);
  if (want_bias) gradient.dbias = DataOf(&d_bias);
  if (sinks) gradient.dsinks = DataOf(&d_sinks);
  MaskedAttentionGradient(in.bound.attention, outputs, gradient, ThreadCount(), TorchParallelFor);
  return {d_q, d_k, d_v, d_bias, d_sinks};
}

}  // namespace

#define OF_SCORES                                                                          \
  "Tensor? lengths=None, Tensor? centers=None, Tensor? left_pad=None, Tensor? mask=None, " \
  "Tensor? bias=None, Tensor? sinks=None, " SCORE_OPTIONS                                  \
  ", float softcap=0., str align=\"top_left\", "

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m, "masked_attention(Tensor q, Tensor k, Tensor v, " OF_SCORES
          "bool return_lse=False) -> (Tensor o, Tensor lse)");
  Define(
      &m,
      "masked_attention_backward(Tensor o, Tensor lse, Tensor? d_o, Tensor? d_lse, Tensor q, "
      "Tensor k, Tensor v, " OF_SCORES
      "bool want_bias=False) -> (Tensor d_q, Tensor d_k, Tensor d_v, Tensor d_bias, "
      "Tensor d_sinks)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "masked_attention", TORCH_BOX(&MaskedAttentionOp));
  Implement(&m, "masked_attention_backward", TORCH_BOX(&MaskedAttentionBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
