#pragma once

// Attention over what a mask keeps, and its gradient, tile by tile: the matrix of
// scores is never stored, and a tile of it with nothing kept is never computed.
//
// Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax"
// (2018); Rabe and Staats, "Self-attention does not need O(n^2) memory" (2021); Dao
// et al., "FlashAttention" (2022); Dao, "FlashAttention-2" (2023).

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// o [batch, heads, queries, value_depth] = softmax of what is kept of the scores,
// times v; lse, rows of one entry of Wide<T>, unless null, the logarithm of the sum of
// their exponentials and their sink's, -inf for an empty row. A row with a sink above -inf is not
// empty: of nothing kept, o is 0 and lse the sink. What is masked has no effect, NaN
// included. `threads` is how many parallel_for has; results do not depend on it. Beyond
// its results it holds O(threads * (value_depth + depth)) entries.
void MaskedAttention(
    const Attention& attention, const OutputRows& o, const OutputRows& lse, int64_t threads,
    ParallelFor parallel_for);

struct AttentionGradient {
  OutputRows dq;
  OutputRows dk;
  OutputRows dv;
  void* dbias;   // null where none is wanted
  void* dsinks;  // null where none is wanted
};

// What the forward pass gave, and the gradients that came back for it.
struct AttentionOutputs {
  InputRows o;
  InputRows lse;  // rows of one entry of Wide<T>, as d_lse
  InputRows d_o;
  InputRows d_lse;  // null where there is none
};

// Gradients by computing the probabilities again: from lse, or where one is so large that it
// tells little of them, beyond 128 either way, from a sum that is computed again, too, at the
// cost of one more product and two numbers for each row. Results do not depend on `threads`, but
// that sums of dk and dv may round otherwise where what is masked is not finite.
void MaskedAttentionGradient(
    const Attention& attention, const AttentionOutputs& outputs, const AttentionGradient& gradient,
    int64_t threads, ParallelFor parallel_for);

}  // namespace caffe2op_mask
