#pragma once

// One thread's view of attention: some rows of a unit and, tile by tile, their scores.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/attention.h"
#include "kernels/attention_tasks.h"
#include "kernels/attention_tile.h"
#include "kernels/wide_rows.h"

namespace caffe2op_mask {

// Computes in W, float or double.
template <typename W>
class AttentionWork {
 public:
  explicit AttentionWork(const Attention& attention);

  // Turns to some rows of a unit; those whose `lse`, an entry for each row counted over all units,
  // or null, is known to be -inf keep nothing.
  void SetRows(const RowTile& rows, const W* lse = nullptr);

  // Calls f(tile) for each tile of those rows and keys [begin, end) of which something is kept:
  // from the first key that any of the rows keeps to the last.
  template <class F>
  void ForEachTile(int64_t begin, int64_t end, const F& f) {
    begin = std::max(begin, keys_.begin);
    end = std::min(end, keys_.end);
    for (; begin < end; begin += kTileKeys) {
      if (SetKeys(begin, std::min(begin + kTileKeys, end))) f(tile_);
    }
  }

  const Attention& attention() const { return attention_; }
  const Unit& unit() const { return rows_.unit; }
  int64_t first_row() const { return rows_.first; }  // of the unit's
  int64_t rows() const { return rows_.rows; }
  int64_t stride() const { return tile_.stride; }

  ScoreTile Scores(const AttentionTile& tile);

  // products[i, j] = alpha * (a[i] times rows[j]) for the tile's rows, one behind the other, and
  // keys, of `depth` entries each, as the tile's scores lie.
  void Products(
      const AttentionTile& tile, double alpha, const W* a, StridedRows<W> rows, int64_t depth,
      W* products);

  // The tile's rows of q, one behind the other, and of v.
  const W* q() const { return q_; }
  StridedRows<W> V(const AttentionTile& tile) const {
    return wide_v_.Keys(unit(), tile.first_key, tile.columns);
  }

  // The tile's rows of k and v, to be weighed and summed up over the keys: zeros
  // for keys that the mask keeps in none of the tile's rows, where they are not finite.
  StridedRows<W> SummedK(const AttentionTile& tile) { return Summed(tile, k_, attention_.depth); }
  StridedRows<W> SummedV(const AttentionTile& tile) {
    return Summed(tile, V(tile), attention_.value_depth);
  }

 private:
  // Turns to what the rows keep of keys [begin, end). False where there is none.
  bool SetKeys(int64_t begin, int64_t end);

  StridedRows<W> Summed(const AttentionTile& tile, StridedRows<W> rows, int64_t depth);
  void FindKeptKeys(const AttentionTile& tile);

  const Attention& attention_;

  // Of the rows.
  RowTile rows_{};
  Interval keys_{0, 0};         // from the first to the last that any of them keeps
  std::vector<Interval> kept_;  // of all keys, for each
  std::vector<const bool*> mask_rows_;
  std::vector<const uint8_t*> bias_rows_;
  const W* q_ = nullptr;

  AttentionTile tile_{};
  std::vector<Interval> tile_kept_;
  std::vector<const bool*> tile_mask_;
  std::vector<const void*> tile_bias_;
  StridedRows<W> k_{};

  WideRows<W> wide_q_;
  WideRows<W> wide_k_;
  WideRows<W> wide_v_;
  AlignedBuffer<W> scores_;
  AlignedBuffer<W> packed_;
  int64_t summed_size_ = 0;
  AlignedBuffer<W> summed_;        // where rows are copied
  std::vector<uint8_t> key_kept_;  // not 0 where a row of the tile keeps the key
};

}  // namespace caffe2op_mask
