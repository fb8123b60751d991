#pragma once

// Attention over what a mask keeps: what it is of, as kernels take it.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/masked_softmax.h"
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

// A unit is a head of k and v with all queries that it serves: those of heads that
// follow one another, whose rows lie one after the other.
inline int64_t Units(const Attention& attention) {
  return attention.batch * attention.kv_heads;
}
inline int64_t UnitRows(const Attention& attention) {
  return attention.heads / attention.kv_heads * attention.queries;
}

}  // namespace caffe2op_mask
