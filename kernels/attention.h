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

// One of a batch whose queries and keys differ in number. Sequences may lie one behind the other,
// as where the strides of batch are 0: what they have of q, o and the like begins at row
// first_query, what they have of k and v at row first_key.
struct Sequence {
  int64_t queries;
  int64_t keys;
  int64_t unused_keys;  // behind them, which nobody reads and whose gradients are 0
  int64_t first_query;
  int64_t first_key;
  int64_t first_row;  // of its heads' rows, one after the other, counted over the batch
  int64_t shift;      // query i stands at i + shift, which is the row that the mask's shape takes
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
  // One for each of the batch, of which `queries` and `keys` are then the most; there is neither a
  // bool mask nor a bias. Null where all are alike.
  const Sequence* sequences = nullptr;
};

// A head of k and v of one of the batch with all queries that it serves: those of heads that
// follow one another, whose rows lie one after the other.
struct Unit {
  int64_t batch;
  int64_t kv_head;
  int64_t group;  // of heads that it serves
  Sequence sequence;
  int64_t first_row;  // counted over all units
  bool by_shift;      // see MaskRow

  int64_t queries() const { return sequence.queries; }
  int64_t keys() const { return sequence.keys; }
  int64_t rows() const { return group * queries(); }
  int64_t Head(int64_t row) const { return kv_head * group + row / queries(); }

  // What the mask's shape takes one of its rows for.
  int64_t MaskRow(int64_t row) const {
    return by_shift ? row % queries() + sequence.shift : first_row + row;
  }

  // Where one of its rows, and one of its keys, begins.
  int64_t OfRow(const RowStrides& strides, int64_t row) const {
    return batch * strides.batch + Head(row) * strides.head +
           (sequence.first_query + row % queries()) * strides.row;
  }
  int64_t OfKey(const RowStrides& strides, int64_t key) const {
    return batch * strides.batch + kv_head * strides.head +
           (sequence.first_key + key) * strides.row;
  }
};

// The sequence at an index of the batch.
inline Sequence SequenceAt(const Attention& attention, int64_t batch) {
  if (attention.sequences != nullptr) return attention.sequences[batch];
  const int64_t first_row = batch * attention.heads * attention.queries;
  return {attention.queries, attention.keys, 0, 0, 0, first_row, 0};
}

inline int64_t Units(const Attention& attention) {
  return attention.batch * attention.kv_heads;
}
inline Unit UnitAt(const Attention& attention, int64_t index) {
  const int64_t batch = index / attention.kv_heads;
  const int64_t kv_head = index % attention.kv_heads;
  const int64_t group = attention.heads / attention.kv_heads;
  const Sequence sequence = SequenceAt(attention, batch);
  const int64_t first_row = sequence.first_row + kv_head * group * sequence.queries;
  return {batch, kv_head, group, sequence, first_row, attention.sequences != nullptr};
}

// The most rows of a unit, and the rows of all.
inline int64_t UnitRows(const Attention& attention) {
  return attention.heads / attention.kv_heads * attention.queries;
}
inline int64_t AllRows(const Attention& attention) {
  if (attention.batch == 0) return 0;
  const Sequence last = SequenceAt(attention, attention.batch - 1);
  return last.first_row + attention.heads * last.queries;
}

}  // namespace caffe2op_mask
