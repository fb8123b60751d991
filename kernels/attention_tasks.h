#pragma once

// How attention is shared out to threads.

#include <algorithm>
#include <atomic>
#include <cstdint>

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

// Rows [first, first + rows) of a unit.
struct RowTile {
  Unit unit;
  int64_t first;
  int64_t rows;

  int64_t first_of_all() const { return unit.first_row + first; }
};

// Their number, and the tiles one after the other.
inline int64_t RowTiles(const Attention& attention) {
  return Units(attention) * TilesOf(UnitRows(attention), kTileQueries);
}
inline RowTile RowTileAt(const Attention& attention, int64_t tile) {
  const int64_t tiles = TilesOf(UnitRows(attention), kTileQueries);
  const int64_t first = tile % tiles * kTileQueries;
  return {
      UnitAt(attention, tile / tiles), first, std::min(kTileQueries, UnitRows(attention) - first)};
}

// The most rows of a tile.
inline int64_t TileRows(const Attention& attention) {
  return std::min(kTileQueries, UnitRows(attention));
}

// Threads that a kernel may take.
struct Threads {
  int64_t count;
  ParallelFor parallel_for;
};

// Calls f(&work, task) for each task, on as many threads as they are worth, each with a `work` of
// its own. Which thread takes which is left to chance: tasks differ in cost, as what is kept
// differs.
template <class MakeWork, class F>
void ForEachTask(
    const Attention& attention, int64_t tasks, const Threads& threads, const MakeWork& make_work,
    const F& f) {
  constexpr double kWorthAThread = 1 << 22;  // multiplications
  const double cost = static_cast<double>(Units(attention)) *
                      static_cast<double>(UnitRows(attention)) *
                      static_cast<double>(attention.keys) *
                      static_cast<double>(attention.depth + attention.value_depth);
  const double worth = std::min(cost / kWorthAThread, static_cast<double>(threads.count));
  const int64_t workers = std::min(tasks, std::max<int64_t>(static_cast<int64_t>(worth), 1));
  std::atomic<int64_t> next{0};
  threads.parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    auto work = make_work();
    for (int64_t task = next++; task < tasks; task = next++) f(&work, task);
  });
}

}  // namespace caffe2op_mask
