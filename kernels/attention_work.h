#pragma once

// What the forward and the backward pass of attention share: how the scores are cut
// into tiles, and one thread's view of a tile.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/attention_tile.h"
#include "kernels/chunk.h"
#include "kernels/masked_attention.h"
#include "kernels/tile_product.h"

namespace caffe2op_mask {

// So large that a tile of scores stays in the second-level cache beside the rows of
// q, k and v that it is made of.
constexpr int64_t kTileQueries = 64;
constexpr int64_t kTileKeys = 256;

inline int64_t TilesOf(int64_t entries, int64_t size) {
  return (entries + size - 1) / size;
}

// Attention with its elements by their type.
template <typename T>
struct AttentionOf {
  explicit AttentionOf(const Attention& in)
      : batch(in.batch),
        heads(in.heads),
        kv_heads(in.kv_heads),
        queries(in.queries),
        keys(in.keys),
        depth(in.depth),
        value_depth(in.value_depth),
        q(static_cast<const T*>(in.q)),
        k(static_cast<const T*>(in.k)),
        v(static_cast<const T*>(in.v)),
        scale(static_cast<Wide<T>>(in.scale)),
        softcap(static_cast<Wide<T>>(in.softcap)),
        bias(static_cast<const T*>(in.bias)),
        bias_rows(in.bias_rows),
        sinks(static_cast<const T*>(in.sinks)),
        mask(in.mask),
        empty_row(in.empty_row) {}

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
  Wide<T> scale;
  Wide<T> softcap;
  const T* bias;
  const RowBroadcast& bias_rows;
  const T* sinks;
  const ScoreMask& mask;
  EmptyRow empty_row;
};

// A unit is a head of k and v with all queries that it serves: those of heads that
// follow one another, whose rows lie one after the other.
template <typename T>
int64_t Units(const AttentionOf<T>& attention) {
  return attention.batch * attention.kv_heads;
}
template <typename T>
int64_t UnitRows(const AttentionOf<T>& attention) {
  return attention.heads / attention.kv_heads * attention.queries;
}

// `count` entries as Wide<T>: where they lie if they are that, else in `buffer`.
template <typename T>
const Wide<T>* Widened(const T* from, int64_t count, Wide<T>* buffer) {
  if constexpr (std::is_same<T, Wide<T>>::value) {
    return from;
  } else {
    ToFloat(from, count, buffer);
    return buffer;
  }
}

// Room for `count` widened entries, none where they need not be, nor be `changed`.
template <typename T>
AlignedBuffer<Wide<T>> RoomToWiden(int64_t count, bool changed = false) {
  return AlignedBuffer<Wide<T>>(std::is_same<T, Wide<T>>::value && !changed ? 0 : count);
}

// One thread's tile: up to kTileQueries rows of a unit by up to kTileKeys keys.
template <typename T>
class AttentionWork {
 public:
  using W = Wide<T>;

  explicit AttentionWork(const AttentionOf<T>& attention);

  // Turns to rows [first, first + rows) of a unit; those whose `lse`, unless it is
  // null, is known to be -inf keep nothing.
  void SetRows(int64_t unit, int64_t first, int64_t rows, const W* lse = nullptr);

  // Turns to what those rows keep of keys [begin, end): from the first that any of
  // them keeps to the last. False where there is none.
  bool SetKeys(int64_t begin, int64_t end);

  // The tile with its scores, scale * q k.
  const ScoreTile<T>& Scores();

  // Calls f() for each tile of keys [begin, end) of which the rows keep something.
  template <class F>
  void ForEachTile(int64_t begin, int64_t end, const F& f) {
    begin = std::max(begin, keys_.begin);
    end = std::min(end, keys_.end);
    for (; begin < end; begin += kTileKeys) {
      if (SetKeys(begin, std::min(begin + kTileKeys, end))) f();
    }
  }

  const AttentionOf<T>& attention() const { return attention_; }
  int64_t unit() const { return unit_; }
  int64_t rows() const { return rows_; }
  int64_t first_row() const { return first_row_; }  // counted over all units
  int64_t first_key() const { return first_key_; }
  const ScoreTile<T>& tile() const { return tile_; }
  int64_t stride() const { return tile_.stride; }

  // The tile's rows of q and v, widened.
  const W* q() const { return q_; }
  const W* v();

  // The tile's rows of k and v, widened, to be weighed and summed up over the keys: zeros
  // for keys that the mask keeps in none of the tile's rows, where they are not finite.
  const W* SummedK() { return Clear(k_, attention_.depth, wide_k_.data()); }
  const W* SummedV() { return Clear(v(), attention_.value_depth, wide_v_.data()); }

 protected:
  // products[i, j] = alpha * (a[i] times rows[j]) for the tile's rows and keys, of
  // `depth` entries each, as the tile's scores lie.
  void Products(W alpha, const W* a, const W* rows, int64_t depth, W* products);

 private:
  // `rows` of k or v, where they lie or, with what is cleared, in `buffer`.
  const W* Clear(const W* rows, int64_t depth, W* buffer);

  const AttentionOf<T>& attention_;

  int64_t unit_ = 0;
  int64_t rows_ = 0;
  int64_t first_row_ = 0;
  int64_t first_key_ = 0;
  Interval keys_{0, 0};         // from the first to the last that any of the rows keeps
  std::vector<Interval> kept_;  // of all keys, for each row
  std::vector<const bool*> mask_rows_;
  std::vector<const T*> bias_rows_;

  ScoreTile<T> tile_{};
  std::vector<Interval> tile_kept_;
  std::vector<const bool*> tile_mask_;
  std::vector<const T*> tile_bias_;
  std::vector<uint8_t> key_kept_;  // not 0 where a row of the tile keeps the key
  AlignedBuffer<W> scores_;
  const W* q_ = nullptr;
  const W* k_ = nullptr;
  AlignedBuffer<W> wide_q_;
  AlignedBuffer<W> wide_k_;
  AlignedBuffer<W> wide_v_;
  AlignedBuffer<W> packed_;
};

// Calls f(work, task) for each task, on as many threads as they are worth. Which thread
// takes which is left to chance: tasks differ in cost, as what is kept differs.
template <class Work, typename T, class F>
void ForEachTask(
    const AttentionOf<T>& attention, int64_t tasks, int64_t threads, ParallelFor parallel_for,
    const F& f) {
  constexpr double kWorthAThread = 1 << 22;  // multiplications
  const double cost = static_cast<double>(Units(attention)) *
                      static_cast<double>(UnitRows(attention)) *
                      static_cast<double>(attention.keys) *
                      static_cast<double>(attention.depth + attention.value_depth);
  const double worth = std::min(cost / kWorthAThread, static_cast<double>(threads));
  const int64_t workers = std::min(tasks, std::max<int64_t>(static_cast<int64_t>(worth), 1));
  std::atomic<int64_t> next{0};
  parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    Work work(attention);
    for (int64_t task = next++; task < tasks; task = next++) f(&work, task);
  });
}

template <typename T>
Wide<T> Entry(const T* from) {
  if constexpr (std::is_same<T, Wide<T>>::value) {
    return *from;
  } else {
    return ToFloat(*from);
  }
}

// The score of a row beside those of its keys, rows counted over all units; -inf where it has none.
template <typename T>
Wide<T> SinkScore(const AttentionOf<T>& attention, int64_t row) {
  if (attention.sinks == nullptr) return -std::numeric_limits<Wide<T>>::infinity();
  return Entry(attention.sinks + row / attention.queries % attention.heads);
}

// What the online softmax of rows [first, first + rows) begins with: their sinks, or nothing.
template <typename T>
void BeginSoftmax(
    const AttentionOf<T>& attention, int64_t first, int64_t rows, Wide<T>* max, Wide<T>* sum) {
  for (int64_t r = 0; r < rows; ++r) {
    const Wide<T> sink = SinkScore(attention, first + r);
    max[r] = sink;
    // 1, but NaN where the sink is not finite, as of a key with such a score.
    sum[r] = sink == -std::numeric_limits<Wide<T>>::infinity() ? 0 : std::exp(sink - sink);
  }
}

// Attention entry by entry, in the plainest way, for the few rows where a product of
// matrices will not do: there, 0 times a masked NaN is NaN, as of a key that other rows of
// a tile keep. Rows are counted over all units.

// Whether a row keeps a key, which may also not be in its interval.
template <typename T>
bool KeepsKey(const AttentionOf<T>& attention, int64_t row, int64_t key) {
  const Interval kept = attention.mask.shape(row, attention.keys);
  if (key < kept.begin || key >= kept.end) return false;
  const RowBroadcast& rows = attention.mask.mask_rows;
  return attention.mask.mask == nullptr ||
         CountTrue(attention.mask.mask + rows.Offset(row) + key * rows.column_stride(), 1) == 1;
}

// The score of a row with a key as it goes into the exponential; `slope` becomes the
// derivative of its softcap.
template <typename T>
Wide<T> EntryScore(const AttentionOf<T>& attention, int64_t row, int64_t key, Wide<T>* slope) {
  const int64_t depth = attention.depth;
  const T* const q = attention.q + row * depth;
  const T* const k = attention.k + (row / UnitRows(attention) * attention.keys + key) * depth;
  Wide<T> score = 0;
  for (int64_t i = 0; i < depth; ++i) score += Entry(q + i) * Entry(k + i);
  score *= attention.scale;
  *slope = 1;
  if (attention.softcap != 0) {
    const Wide<T> t = std::tanh(score / attention.softcap);
    score = attention.softcap * t;
    *slope = 1 - t * t;
  }
  if (attention.bias != nullptr) {
    const RowBroadcast& rows = attention.bias_rows;
    score += Entry(attention.bias + rows.Offset(row) + key * rows.column_stride());
  }
  return score;
}

}  // namespace caffe2op_mask
