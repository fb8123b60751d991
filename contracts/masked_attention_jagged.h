#pragma once

// Attention of sequences that lie one behind the other: what it takes besides what MaskedAttention
// does.

#include <vector>

#include "contracts/masked_attention.h"

namespace caffe2op_mask {

// How rows [T, H, D] of such sequences lie, and the entries of [T, H], as LSE has them. Without
// strides they are contiguous.
RowStrides JaggedStridesOf(Sizes sizes, Sizes strides = {});

// Where sequences begin and end: int32 or int64, and contiguous.
struct JaggedInputs {
  enum class By {
    kOffsets,  // [B + 1]: where each begins and, last, where the last one ends
    kLengths   // [B]
  };

  By by = By::kOffsets;
  const TensorView* queries = nullptr;
  const TensorView* keys = nullptr;       // null: those of queries
  const TensorView* used_keys = nullptr;  // [B]: of each, the keys that are there; null: all

  // What errors call them.
  const char* queries_name = "cu_seq_q";
  const char* keys_name = "cu_seq_k";
  const char* used_keys_name = "seqused_k";
};

// Q [Tq, H, D], K [Tk, Hkv, D], V [Tk, Hkv, Dv], O [Tq, H, Dv] and LSE [Tq, H]. Query i of a
// sequence sees keys of the same one. What is kept is said by triangles and a window, for which it
// stands at key i or, aligned at the bottom right, at i + (keys - queries) of its own sequence.
class JaggedAttentionContract {
 public:
  // Throws where the options have a mask, a bias, or a shape that reads an input.
  JaggedAttentionContract(const char* op, const AttentionOptions& options);

  const ScoreContract& scores() const { return attention_.scores(); }

  // What kernels take; see AttentionContract::Bound.
  struct Bound {
    Attention attention{};
    std::vector<Sequence> sequences;

    Bound() = default;
    Bound(const Bound&) = delete;
    Bound& operator=(const Bound&) = delete;
  };

  // As AttentionContract::Bind. `sinks` is looked at where the options have them.
  void Bind(
      const TensorView& q, const TensorView& k, const TensorView& v, const JaggedInputs& inputs,
      const TensorView& sinks, Bound* bound) const;

  // As those of AttentionContract. Entries are rows of one.
  static OutputRows RowsIn(void* data, Sizes sizes) { return {data, JaggedStridesOf(sizes)}; }
  static OutputRows EntriesIn(void* data, Sizes sizes) { return RowsIn(data, sizes); }

  // As those of AttentionContract; `o` are the sizes of O, AttentionSizes(Q's, V's).
  void CheckOutputs(const TensorView& q, Sizes o, bool lse) const {
    attention_.CheckOutputs(q, o, lse);
  }
  InputRows OutputRowsOf(
      const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const;
  InputRows LogSumExpsOf(
      const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const;

 private:
  std::vector<Sequence> Cut(
      const JaggedInputs& inputs, int64_t query_rows, int64_t key_rows, int64_t heads) const;

  const char* op_;
  AttentionContract attention_;
};

}  // namespace caffe2op_mask
