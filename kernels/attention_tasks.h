#pragma once

// How attention is shared out to threads.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "kernels/attention.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// So large that a tile of scores stays in the second-level cache beside the rows of
// q, k and v that it is made of.
constexpr int64_t kTileQueries = 64;
constexpr int64_t kTileKeys = 256;

inline int64_t TilesOf(int64_t entries, int64_t size) {
  return (entries + size - 1) / size;
}

// Rows [first, first + rows) of a unit, or of its keys.
struct RowTile {
  Unit unit;
  int64_t first;
  int64_t rows;

  int64_t first_of_all() const { return unit.first_row + first; }
};

// Tiles of all units, one after the other.
class UnitTiles {
 public:
  static UnitTiles OfRows(const Attention& attention) {
    return UnitTiles(attention, kTileQueries, [](const Attention& in, const Sequence& one) {
      return in.heads / in.kv_heads * one.queries;
    });
  }
  // Of unused ones, too.
  static UnitTiles OfKeys(const Attention& attention) {
    return UnitTiles(attention, kTileKeys, [](const Attention&, const Sequence& one) {
      return one.keys + one.unused_keys;
    });
  }

  int64_t count() const { return count_; }

  RowTile At(int64_t index) const {
    int64_t batch = 0;
    if (!ends_.empty()) {
      batch = std::upper_bound(ends_.begin(), ends_.end(), index) - ends_.begin();
      if (batch > 0) index -= ends_[static_cast<size_t>(batch) - 1];
    }
    const int64_t rows = rows_of_(attention_, SequenceAt(attention_, batch));
    const int64_t tiles = TilesOf(rows, size_);
    const int64_t first = index % tiles * size_;
    const Unit unit = UnitAt(attention_, batch * attention_.kv_heads + index / tiles);
    return {unit, first, std::min(size_, rows - first)};
  }

 private:
  using RowsOf = int64_t (*)(const Attention& in, const Sequence& one);

  // Tiles of `size` of the rows that each unit of a sequence has.
  UnitTiles(const Attention& attention, int64_t size, RowsOf rows_of)
      : attention_(attention), size_(size), rows_of_(rows_of) {
    const auto tiles_of = [&](int64_t batch) {
      return attention.kv_heads * TilesOf(rows_of(attention, SequenceAt(attention, batch)), size);
    };
    if (attention.sequences == nullptr) {
      count_ = attention.batch == 0 ? 0 : attention.batch * tiles_of(0);
      return;
    }
    for (int64_t batch = 0; batch < attention.batch; ++batch) {
      count_ += tiles_of(batch);
      ends_.push_back(count_);
    }
  }

  const Attention& attention_;
  int64_t size_;
  RowsOf rows_of_;
  int64_t count_ = 0;
  std::vector<int64_t> ends_;  // of each sequence's tiles, where sequences differ
};

// The most rows of a tile.
inline int64_t TileRows(const Attention& attention) {
  return std::min(kTileQueries, UnitRows(attention));
}

// Threads that a kernel may take.
struct Threads {
  int64_t count;
  ParallelFor parallel_for;
};

// How many scores there are, masked or not.
struct ScoreCount {
  double all;
  double most;  // of a unit
};
inline ScoreCount ScoresOf(const Attention& attention) {
  const auto in_unit = [&](int64_t queries, int64_t keys) {
    return static_cast<double>(attention.heads / attention.kv_heads * queries) *
           static_cast<double>(keys);
  };
  const auto kv_heads = static_cast<double>(attention.kv_heads);
  if (attention.sequences == nullptr) {
    const double most = in_unit(attention.queries, attention.keys);
    return {static_cast<double>(attention.batch) * kv_heads * most, most};
  }
  ScoreCount count{0, 0};
  for (int64_t batch = 0; batch < attention.batch; ++batch) {
    const Sequence& one = attention.sequences[batch];
    const double scores = in_unit(one.queries, one.keys);
    count.all += kv_heads * scores;
    count.most = std::max(count.most, scores);
  }
  return count;
}

// Calls f(&work, task) for each task, on as many threads as they are worth, each with a `work` of
// its own. Which thread takes which is left to chance: tasks differ in cost, as what is kept
// differs.
template <class MakeWork, class F>
void ForEachTask(
    const Attention& attention, int64_t tasks, const Threads& threads, const MakeWork& make_work,
    const F& f) {
  constexpr double kWorthAThread = 1 << 22;  // multiplications
  const double cost =
      ScoresOf(attention).all * static_cast<double>(attention.depth + attention.value_depth);
  const double worth = std::min(cost / kWorthAThread, static_cast<double>(threads.count));
  const int64_t workers = std::min(tasks, std::max<int64_t>(static_cast<int64_t>(worth), 1));
  std::atomic<int64_t> next{0};
  threads.parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    auto work = make_work();
    for (int64_t task = next++; task < tasks; task = next++) f(&work, task);
  });
}

}  // namespace caffe2op_mask
