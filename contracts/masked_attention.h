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

}  // namespace caffe2op_mask
