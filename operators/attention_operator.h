#pragma once

// What MaskedAttention and MaskedAttentionJagged do alike, and their gradients. A Base is a
// ScoreOperator that says how their inputs lie:
//
//   kOp, kGradientOp            the names of the operator and of its gradient
//   Contract                    AttentionContract, or one like it
//   Base(def, ws, op)           reads the options of `op`, one of these names
//   CheckInputs(names, count)   throws unless there are Q, K and V and what options ask for behind
//                               `count` others, which are called `names`, as in "O, LSE, "
//   BindInputs(first, &bound)   binds them, where Q is the `first`-th input
//   contract_

#include <cstring>
#include <string>
#include <vector>

#include "contracts/masked_attention.h"
#include "operators/arguments.h"
#include "operators/parallel.h"
#include "operators/score_operator.h"

namespace caffe2 {
namespace mask {

// The options of attention; their texts are the definition's own.
caffe2op_mask::AttentionOptions ReadAttentionOptions(const OperatorDef& def);

// The shapes of O and, where it is named, LSE, of Q with so many dims.
std::vector<TensorShape> InferAttention(
    const OperatorDef& def, const std::vector<TensorShape>& in, int fewest_dims, int most_dims);

// (Q, K, V, ..) -> O [, LSE]
template <class Base>
class AttentionOp final : public Base {
 public:
  AttentionOp(const OperatorDef& def, Workspace* ws) : Base(def, ws, Base::kOp) {
    this->CheckInputs("", 0);
  }

  bool RunOnDevice() override {
    return Checked([this] { return Attend(); });
  }

 private:
  using Contract = typename Base::Contract;

  bool Attend() {
    typename Contract::Bound bound;
    this->BindInputs(0, &bound);
    const caffe2op_mask::TensorView q = this->View(0);
    const caffe2op_mask::Dims sizes = caffe2op_mask::AttentionSizes(q.sizes, this->SizesOf(2));
    const bool has_lse = this->OutputSize() > 1;
    this->contract_.CheckOutputs(q, sizes, has_lse);
    const caffe2op_mask::OutputRows o =
        Contract::RowsIn(this->Make(0, sizes, this->Input(0).dtype()), sizes);
    caffe2op_mask::OutputRows lse{};
    if (has_lse) {
      const caffe2op_mask::Sizes rows = caffe2op_mask::LogSumExpSizes(sizes);
      const TypeMeta wide = MetaOf(caffe2op_mask::WideOf(bound.attention.type));
      lse = Contract::EntriesIn(this->Make(1, rows, wide), rows);
    }
    if (bound.attention.kv_heads == 0) return true;
    caffe2op_mask::MaskedAttention(bound.attention, o, lse, at::get_num_threads(), AtParallelFor);
    return true;
  }
};

// ([O, LSE,] [dO,] [dLSE,] Q, K, V, ..) -> dQ, dK, dV [, dbias] [, dsinks]
template <class Base>
class AttentionGradientOp final : public Base {
 public:
  AttentionGradientOp(const OperatorDef& def, Workspace* ws)
      : Base(def, ws, Base::kGradientOp),
        has_outputs_(Arguments(def).Bool("has_outputs", true)),
        has_d_o_(Arguments(def).Bool("has_d_o", true)),
        has_d_lse_(Arguments(def).Bool("has_d_lse", false)),
        first_((has_outputs_ ? 2 : 0) + (has_d_o_ ? 1 : 0) + (has_d_lse_ ? 1 : 0)) {
    std::string names = has_outputs_ ? "O, LSE, " : "";
    if (has_d_o_) names += "dO, ";
    if (has_d_lse_) names += "dLSE, ";
    this->CheckInputs(names, first_);
    const caffe2op_mask::ScoreContract& scores = this->contract_.scores();
    const int outputs = 3 + (scores.has_bias() ? 1 : 0) + (scores.has_sinks() ? 1 : 0);
    CAFFE_ENFORCE(
        def.output_size() == outputs, Base::kGradientOp, ": by its arguments has_* it has ",
        outputs, " outputs, but there are ", def.output_size(), ".");
  }

  bool RunOnDevice() override {
    return Checked([this] { return Gradient(); });
  }

 private:
  using Contract = typename Base::Contract;

  bool Gradient();

  // Computes O and LSE, which are no inputs.
  void AttendAgain(
      const caffe2op_mask::Attention& in, const caffe2op_mask::TensorView& q,
      caffe2op_mask::Sizes sizes, caffe2op_mask::AttentionOutputs* outputs);

  caffe2op_mask::OutputRows RowsLike(int output, int input) {
    return Contract::RowsIn(this->MakeLike(output, input), this->SizesOf(input));
  }

  // Sets an output to zeros.
  void Clear(int output) {
    Tensor* const tensor = this->Output(output);
    void* const data = tensor->raw_mutable_data(tensor->dtype());
    // Of nothing, the data may be null.
    if (tensor->nbytes() > 0) std::memset(data, 0, tensor->nbytes());
  }

  const bool has_outputs_;
  const bool has_d_o_;
  const bool has_d_lse_;
  const int first_;  // which input Q is
  Tensor o_{CPU};    // O and LSE, where they are no inputs and so computed again
  Tensor lse_{CPU};
};

template <class Base>
void AttentionGradientOp<Base>::AttendAgain(
    const caffe2op_mask::Attention& in, const caffe2op_mask::TensorView& q,
    caffe2op_mask::Sizes sizes, caffe2op_mask::AttentionOutputs* outputs) {
  caffe2op_mask::Dims of_o = sizes;
  of_o.FromBack(1) = in.value_depth;
  const caffe2op_mask::Sizes rows = caffe2op_mask::LogSumExpSizes(of_o);
  const TypeMeta type = MetaOf(q.type);
  const TypeMeta wide = MetaOf(caffe2op_mask::WideOf(in.type));
  this->contract_.CheckOutputs(q, of_o, /*lse=*/true);
  ReinitializeTensor(&o_, ArrayOf(of_o), at::dtype(type).device(CPU));
  ReinitializeTensor(&lse_, ArrayOf(rows), at::dtype(wide).device(CPU));
  const caffe2op_mask::OutputRows o = Contract::RowsIn(o_.raw_mutable_data(type), of_o);
  const caffe2op_mask::OutputRows lse = Contract::EntriesIn(lse_.raw_mutable_data(wide), rows);
  caffe2op_mask::MaskedAttention(in, o, lse, at::get_num_threads(), AtParallelFor);
  outputs->o = {o.data, o.strides};
  outputs->lse = {lse.data, lse.strides};
}

template <class Base>
bool AttentionGradientOp<Base>::Gradient() {
  typename Contract::Bound bound;
  this->BindInputs(first_, &bound);
  caffe2op_mask::Attention& in = bound.attention;
  const caffe2op_mask::TensorView q = this->View(first_);
  const caffe2op_mask::Dims sizes =
      caffe2op_mask::AttentionSizes(q.sizes, this->SizesOf(first_ + 2));
  caffe2op_mask::TensorView views[4];
  caffe2op_mask::AttentionOutputViews given;
  int next = 0;
  const auto take = [&](bool there, const caffe2op_mask::TensorView** view) {
    if (!there) return;
    views[next] = this->View(next);
    *view = &views[next++];
  };
  take(has_outputs_, &given.o);
  take(has_outputs_, &given.lse);
  take(has_d_o_, &given.d_o);
  take(has_d_lse_, &given.d_lse);
  caffe2op_mask::AttentionOutputs outputs =
      caffe2op_mask::BindAttentionOutputs(this->contract_, given, q, sizes, &in);
  if (!has_outputs_ && in.kv_heads > 0) AttendAgain(in, q, sizes, &outputs);
  caffe2op_mask::AttentionGradient gradient{};
  gradient.dq = RowsLike(0, first_);
  gradient.dk = RowsLike(1, first_ + 1);
  gradient.dv = RowsLike(2, first_ + 2);
  if (!has_d_o_) Clear(2);
  // The bias and the sinks are the last inputs, and their gradients the last outputs.
  const int inputs = this->InputSize();
  const int last = this->OutputSize() - 1;
  const int sinks = this->contract_.scores().has_sinks() ? 1 : 0;
  if (this->contract_.scores().has_bias()) gradient.dbias = this->MakeLike(3, inputs - 1 - sinks);
  if (sinks == 1) gradient.dsinks = this->MakeLike(last, inputs - 1);
  if (in.kv_heads == 0) {
    // No scores, and so nothing that would add to the gradient of a bias.
    for (int i = 0; i <= last; ++i) Clear(i);
    return true;
  }
  caffe2op_mask::MaskedAttentionGradient(
      in, outputs, gradient, at::get_num_threads(), AtParallelFor);
  return true;
}

}  // namespace mask
}  // namespace caffe2
