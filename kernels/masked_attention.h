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
struct Attention {
  Real type;  // of all elements, which are computed with as Wide<T>
  int64_t batch;
  int64_t heads;
  int64_t kv_heads;
  int64_t queries;
  int64_t keys;
  int64_t depth;
  int64_t value_depth;
  const void* q;
  const void* k;
  const void* v;
  double scale;      // score = scale * q k
  double softcap;    // then, unless 0, softcap * tanh(score / softcap)
  const void* bias;  // then + bias; null where there is none
  RowBroadcast bias_rows;
  // A score for each of the heads, which all rows of one have beside those of their keys, as of a
  // key without a value; not scaled, capped, biased or masked. Null where there are none.
  const void* sinks;
  ScoreMask mask;
  EmptyRow empty_row;
};

// o [batch, heads, queries, value_depth] = softmax of what is kept of the scores,
// times v; lse [batch, heads, queries] of Wide<T>, unless null, the logarithm of the sum of
// their exponentials and their sink's, -inf for an empty row. A row with a sink above -inf is not
// empty: of nothing kept, o is 0 and lse the sink. What is masked has no effect, NaN
// included. `threads` is how many parallel_for has; results do not depend on it. Beyond
// its results it holds O(threads * (value_depth + depth)) entries.
void MaskedAttention(
    const Attention& attention, void* o, void* lse, int64_t threads, ParallelFor parallel_for);

struct AttentionGradient {
  void* dq;
  void* dk;
  void* dv;
  void* dbias;   // null where none is wanted
  void* dsinks;  // null where none is wanted
};

// What the forward pass gave, and the gradients that came back for it.
struct AttentionOutputs {
  const void* o;
  const void* lse;  // of Wide<T>, as d_lse
  const void* d_o;
  const void* d_lse;  // null where there is none
};

// Gradients by computing the probabilities again: from lse, or where one is so large that it
// tells little of them, beyond 128 either way, from a sum that is computed again, too, at the
// cost of one more product and two numbers for each row. Results do not depend on `threads`, but
// that sums of dk and dv may round otherwise where what is masked is not finite.
void MaskedAttentionGradient(
    const Attention& attention, const AttentionOutputs& outputs, const AttentionGradient& gradient,
    int64_t threads, ParallelFor parallel_for);

}  // namespace caffe2op_mask
