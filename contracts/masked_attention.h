#pragma once

// MaskedAttention and its gradient: what they take, and what their kernels are called with.

#include <string_view>
#include <vector>

#include "contracts/scores.h"
#include "kernels/masked_attention.h"

namespace caffe2op_mask {

struct AttentionOptions {
  ScoreOptions scores;
  Number softcap = RealNumber(0);
  std::string_view align = "top_left";
};

// Sizes of O, given those of Q and V; those of LSE are O's but the last.
inline Dims AttentionSizes(Sizes q, Sizes v) {
  Dims sizes = q;
  sizes.FromBack(1) = v.FromBack(1);
  return sizes;
}

// How rows of [B, H, L, D] or [B, L, D] lie, and the entries of [B, H, L] or [B, L], as LSE has
// them, which are rows of one. Without strides they are contiguous.
RowStrides RowStridesOf(Sizes sizes, Sizes strides = {});
RowStrides EntryStridesOf(Sizes sizes, Sizes strides = {});

class AttentionContract {
 public:
  AttentionContract(const char* op, const AttentionOptions& options);

  const ScoreContract& scores() const { return scores_; }

  // What kernels take; its pointers are those of the inputs. The mask points into it, so that it is
  // filled in where it stands and not copied.
  struct Bound {
    Attention attention{};
    std::vector<int64_t> shifts;

    Bound() = default;
    Bound(const Bound&) = delete;
    Bound& operator=(const Bound&) = delete;
  };

  // Q, K and V, and below O and dO, may have strides, those of 0 included, but must have contiguous
  // rows; a front end copies what has none. LSE and dLSE may have any. All else is contiguous.
  // Without heads K and V have, there is nothing to compute: `attention.kv_heads` is 0.
  void Bind(
      const TensorView& q, const TensorView& k, const TensorView& v, const ScoreInputs& inputs,
      Bound* bound) const;

  // How what is of the sizes of Q, K, V or O, and of LSE, lies in memory of its own.
  static OutputRows RowsIn(void* data, Sizes sizes) { return {data, RowStridesOf(sizes)}; }
  static OutputRows EntriesIn(void* data, Sizes sizes) { return {data, EntryStridesOf(sizes)}; }

  // Throws where O or, where it is asked for, LSE would be too large.
  void CheckOutputs(const TensorView& q, Sizes o, bool lse) const;

  // An input of the gradient of O's sizes `o`, as O and dO are; its rows.
  InputRows OutputRowsOf(
      const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const;
  // The same of LSE's, as LSE and dLSE are.
  InputRows LogSumExpsOf(
      const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const;

 private:
  friend class JaggedAttentionContract;

  void CheckHeads(const Attention& in) const;
  // What options and sinks, of which errors call the shape `meaning`, give.
  void BindOptions(
      const TensorView& q, const TensorView& sinks, const char* meaning, Attention* in) const;
  std::vector<int64_t> Shifts(const TensorView* lengths, int64_t queries, int64_t keys) const;
  void CheckSizes(
      const char* name, const TensorView& tensor, const TensorView& q, Sizes sizes,
      const char* meaning) const;

  const char* op_;
  ScoreContract scores_;
  double softcap_;
  bool bottom_right_;
};

// What the gradient takes of the forward pass; null where there is none.
struct AttentionOutputViews {
  const TensorView* o = nullptr;
  const TensorView* lse = nullptr;
  const TensorView* d_o = nullptr;
  const TensorView* d_lse = nullptr;

  // What errors call them.
  const char* o_name = "O";
  const char* lse_name = "LSE";
  const char* d_o_name = "dO";
  const char* d_lse_name = "dLSE";
};

// The same as kernels take it, of a contract whose inputs are bound to `in`, where `o` are O's
// sizes. Throws where one is not of the shape and type of its own.
template <class Contract>
AttentionOutputs BindAttentionOutputs(
    const Contract& contract, const AttentionOutputViews& views, const TensorView& q, Sizes o,
    Attention* in) {
  AttentionOutputs outputs{};
  if (views.o != nullptr) outputs.o = contract.OutputRowsOf(views.o_name, *views.o, q, o);
  if (views.lse != nullptr) outputs.lse = contract.LogSumExpsOf(views.lse_name, *views.lse, q, o);
  if (views.d_o != nullptr) outputs.d_o = contract.OutputRowsOf(views.d_o_name, *views.d_o, q, o);
  if (views.d_lse != nullptr) {
    outputs.d_lse = contract.LogSumExpsOf(views.d_lse_name, *views.d_lse, q, o);
  }
  // LSE alone has no values, whatever they are.
  if (views.d_o == nullptr) in->value_depth = 0;
  return outputs;
}

}  // namespace caffe2op_mask
