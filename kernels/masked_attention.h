#pragma once

// Attention over what a mask keeps, and its gradient, tile by tile: the matrix of
// scores is never stored, and a tile of it with nothing kept is never computed.
//
// Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax"
// (2018); Rabe and Staats, "Self-attention does not need O(n^2) memory" (2021); Dao
// et al., "FlashAttention" (2022); Dao, "FlashAttention-2" (2023).

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/masked_softmax.h"
#include "kernels/parallel.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// q [batch, heads, queries, depth], k [batch, kv_heads, keys, depth] and
// v [batch, kv_heads, keys, value_depth]; heads is a multiple of kv_heads, and each
// of these serves heads / kv_heads heads that follow one another. Rows of mask and
// bias, as of the scores [batch, heads, queries, keys], are queries.
template <typename T>
struct Attention {
  int64_t batch;
  int64_t heads;
  int64_t kv_heads;
  int64_t queries;
  int64_t keys;
  int64_t depth;
  int64_t value_depth;
  const T* q;
  const T* k;
  const T* v;
  Wide<T> scale;    // score = scale * q k
  Wide<T> softcap;  // then, unless 0, softcap * tanh(score / softcap)
  const T* bias;    // then + bias; null where there is none
  RowBroadcast bias_rows;
  // A score for each of the heads, which all rows of one have beside those of their keys, as of a
  // key without a value; not scaled, capped, biased or masked. Null where there are none.
  const T* sinks;
  ScoreMask mask;
  EmptyRow empty_row;
};

// o [batch, heads, queries, value_depth] = softmax of what is kept of the scores,
// times v; lse [batch, heads, queries], unless null, the logarithm of the sum of
// their exponentials and their sink's, -inf for an empty row. A row with a sink above -inf is not
// empty: of nothing kept, o is 0 and lse the sink. What is masked has no effect, NaN
// included. `threads` is how many parallel_for has; results do not depend on it. Beyond
// its results it holds O(threads * (value_depth + depth)) entries.
template <typename T>
void MaskedAttention(
    const Attention<T>& attention, T* o, Wide<T>* lse, int64_t threads, ParallelFor parallel_for);

template <typename T>
struct AttentionGradient {
  T* dq;
  T* dk;
  T* dv;
  T* dbias;  // null where none is wanted
  // Of the bias, aligned to the dims of the scores: each is theirs or 1.
  int64_t bias_dims[4];
  T* dsinks;  // null where none is wanted
};

// What the forward pass gave, and the gradients that came back for it.
template <typename T>
struct AttentionOutputs {
  const T* o;
  const Wide<T>* lse;
  const T* d_o;
  const Wide<T>* d_lse;  // null where there is none
};

// Gradients by computing the probabilities again: from lse, or where one is so large that it
// tells little of them, beyond 128 either way, from a sum that is computed again, too, at the
// cost of one more product and two numbers for each row. Results do not depend on `threads`, but
// that sums of dk and dv may round otherwise where what is masked is not finite.
template <typename T>
void MaskedAttentionGradient(
    const Attention<T>& attention, const AttentionOutputs<T>& outputs,
    const AttentionGradient<T>& gradient, int64_t threads, ParallelFor parallel_for);

}  // namespace caffe2op_mask
