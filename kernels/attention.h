#pragma once

// Attention over what a mask keeps: what it is of, as kernels take it.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/masked_softmax.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Where rows [batch, heads, rows] begin, in entries: steps between neighbours of each dim. Entries
// of a row follow one another. What is only read may have steps of 0, as where it is expanded.
struct RowStrides {
  int64_t batch;
  int64_t head;
  int64_t row;
};

// Rows of entries that somebody else holds.
struct InputRows {
  const void* data;
  RowStrides strides;
};
struct OutputRows {
  void* data;
  RowStrides strides;
};

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
  InputRows q;
  InputRows k;
  InputRows v;
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

// A head of k and v of one of the batch with all queries that it serves: those of heads that
// follow one another, whose rows lie one after the other.
struct Unit {
  int64_t batch;
  int64_t kv_head;
  int64_t group;  // of heads that it serves
  int64_t queries;
  int64_t keys;
  int64_t first_row;  // counted over all units

  int64_t rows() const { return group * queries; }
  int64_t Head(int64_t row) const { return kv_head * group + row / queries; }

  // Where one of its rows, and one of its keys, begins.
  int64_t OfRow(const RowStrides& strides, int64_t row) const {
    return batch * strides.batch + Head(row) * strides.head + row % queries * strides.row;
  }
  int64_t OfKey(const RowStrides& strides, int64_t key) const {
    return batch * strides.batch + kv_head * strides.head + key * strides.row;
  }
};

inline int64_t Units(const Attention& attention) {
  return attention.batch * attention.kv_heads;
}
inline int64_t UnitRows(const Attention& attention) {
  return attention.heads / attention.kv_heads * attention.queries;
}
inline Unit UnitAt(const Attention& attention, int64_t index) {
  return {
      index / attention.kv_heads,
      index % attention.kv_heads,
      attention.heads / attention.kv_heads,
      attention.queries,
      attention.keys,
      index * UnitRows(attention)};
}

}  // namespace caffe2op_mask
