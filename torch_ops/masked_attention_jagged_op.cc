#include <string>
#include <tuple>

#include "contracts/masked_attention_jagged.h"
#include "torch_ops/attention_outputs.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

// Q, K, V and where their sequences are, as the operator and its gradient take them.
struct JaggedArguments {
  Input sinks;
  JaggedAttentionContract contract;
  Input q;
  Input k;
  Input v;
  JaggedAttentionContract::Bound bound;

  JaggedArguments(
      const char* op, const Tensor& of_q, const Tensor& of_k, const Tensor& of_v,
      const Tensor& cu_seq_q, const std::optional<Tensor>& cu_seq_k,
      const std::optional<Tensor>& seqused_k, const std::optional<Tensor>& of_sinks,
      const std::string& mode, int64_t diagonal, int64_t window_left, int64_t window_right,
      std::optional<double> scale, const std::string& empty_row, double softcap,
      const std::string& align)
      : sinks(op, "sinks", of_sinks),
        contract(
            op,
            {OptionsOf(
                 mode, diagonal, window_left, window_right, scale, empty_row, of_sinks.has_value()),
             RealNumber(softcap), align}),
        q(op, "q", of_q, Input::Layout::kRows),
        k(op, "k", of_k, Input::Layout::kRows),
        v(op, "v", of_v, Input::Layout::kRows) {
    const Input queries(op, "cu_seq_q", cu_seq_q);
    const Input keys(op, "cu_seq_k", cu_seq_k);
    const Input used_keys(op, "seqused_k", seqused_k);
    JaggedInputs inputs;
    inputs.queries = queries.get();
    inputs.keys = keys.get();
    inputs.used_keys = used_keys.get();
    contract.Bind(*q, *k, *v, inputs, *sinks, &bound);
  }

  bool has_scores() const { return bound.attention.kv_heads > 0; }
  Dims OutputSizes() const { return AttentionSizes(q->sizes, v->sizes); }

 private:
  static ScoreOptions OptionsOf(
      const std::string& mode, int64_t diagonal, int64_t window_left, int64_t window_right,
      std::optional<double> scale, const std::string& empty_row, bool has_sinks) {
    ScoreOptions options;
    options.shape.mode = mode;
    options.shape.diagonal = diagonal;
    options.shape.window_left = window_left;
    options.shape.window_right = window_right;
    if (scale) options.scale = RealNumber(*scale);
    options.empty_row = empty_row;
    options.has_sinks = has_sinks;
    return options;
  }
};

OutputRows RowsIn(Tensor* tensor) {
  const auto sizes = tensor->sizes();
  return {DataOf(tensor), JaggedStridesOf({sizes.data(), static_cast<int64_t>(sizes.size())})};
}

std::tuple<Tensor, Tensor> MaskedAttentionJaggedOp(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seq_q,
    const std::optional<Tensor>& cu_seq_k, const std::optional<Tensor>& seqused_k,
    const std::optional<Tensor>& sinks, const std::string& mode, int64_t diagonal,
    int64_t window_left, int64_t window_right, std::optional<double> scale,
    const std::string& empty_row, double softcap, const std::string& align, bool return_lse) {
  const JaggedArguments in(
      "varlen_attention", q, k, v, cu_seq_q, cu_seq_k, seqused_k, sinks, mode, diagonal,
      window_left, window_right, scale, empty_row, softcap, align);
  const Dims sizes = in.OutputSizes();
  in.contract.CheckOutputs(*in.q, sizes, return_lse);
  Tensor o = Make(sizes, in.q.scalar_type());
  Tensor lse = return_lse ? Make(LogSumExpSizes(sizes), WideOf(in.bound.attention.type)) : None();
  if (in.has_scores()) {
    MaskedAttention(
        in.bound.attention, RowsIn(&o), return_lse ? RowsIn(&lse) : OutputRows{}, ThreadCount(),
        TorchParallelFor);
  }
  return {o, lse};
}

// d_sinks is empty unless there are sinks.
std::tuple<Tensor, Tensor, Tensor, Tensor> MaskedAttentionJaggedBackwardOp(
    const Tensor& o, const Tensor& lse, const std::optional<Tensor>& d_o,
    const std::optional<Tensor>& d_lse, const Tensor& q, const Tensor& k, const Tensor& v,
    const Tensor& cu_seq_q, const std::optional<Tensor>& cu_seq_k,
    const std::optional<Tensor>& seqused_k, const std::optional<Tensor>& sinks,
    const std::string& mode, int64_t diagonal, int64_t window_left, int64_t window_right,
    std::optional<double> scale, const std::string& empty_row, double softcap,
    const std::string& align) {
  constexpr const char* kOp = "varlen_attention_backward";
  JaggedArguments in(
      kOp, q, k, v, cu_seq_q, cu_seq_k, seqused_k, sinks, mode, diagonal, window_left, window_right,
      scale, empty_row, softcap, align);
  const AttentionOutputInputs given(kOp, o, lse, d_o, d_lse);
  const AttentionOutputs outputs = BindAttentionOutputs(
      in.contract, given.Views(), *in.q, in.OutputSizes(), &in.bound.attention);
  Tensor d_q = MakeLike(in.q);
  Tensor d_k = MakeLike(in.k);
  Tensor d_v = MakeLike(in.v);
  Tensor d_sinks = sinks ? MakeLike(in.sinks) : None();
  if (!in.has_scores()) {
    // No scores, and so nothing that would add to a gradient.
    for (Tensor* const one : {&d_q, &d_k, &d_v, &d_sinks}) Clear(one);
    return {d_q, d_k, d_v, d_sinks};
  }
  if (!d_o) Clear(&d_v);
  AttentionGradient gradient{};
  gradient.dq = RowsIn(&d_q);
  gradient.dk = RowsIn(&d_k);
  gradient.dv = RowsIn(&d_v);
  if (sinks) gradient.dsinks = DataOf(&d_sinks);
  MaskedAttentionGradient(in.bound.attention, outputs, gradient, ThreadCount(), TorchParallelFor);
  return {d_q, d_k, d_v, d_sinks};
}

}  // namespace

#define OF_SEQUENCES                                                                     \
  "Tensor q, Tensor k, Tensor v, Tensor cu_seq_q, Tensor? cu_seq_k=None, "               \
  "Tensor? seqused_k=None, Tensor? sinks=None, str mode=\"\", int diagonal=0, "          \
  "int window_left=-1, int window_right=-1, float? scale=None, str empty_row=\"zero\", " \
  "float softcap=0., str align=\"top_left\""

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(&m, "varlen_attention(" OF_SEQUENCES ", bool return_lse=False) -> (Tensor o, Tensor lse)");
  Define(
      &m,
      "varlen_attention_backward(Tensor o, Tensor lse, Tensor? d_o, Tensor? "
      "d_lse, " OF_SEQUENCES ") -> (Tensor d_q, Tensor d_k, Tensor d_v, Tensor d_sinks)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "varlen_attention", TORCH_BOX(&MaskedAttentionJaggedOp));
  Implement(&m, "varlen_attention_backward", TORCH_BOX(&MaskedAttentionJaggedBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
