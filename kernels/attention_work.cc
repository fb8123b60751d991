#include "kernels/attention_work.h"

#include <limits>

#include "kernels/chunk.h"
#include "kernels/tile_product.h"

namespace caffe2op_mask {

template <typename W>
AttentionWork<W>::AttentionWork(const Attention& attention)
    : attention_(attention),
      wide_q_(attention.type, attention.q, attention.depth, TileRows(attention)),
      wide_k_(attention.type, attention.k, attention.depth, std::min(kTileKeys, attention.keys)),
      wide_v_(
          attention.type, attention.v, attention.value_depth, std::min(kTileKeys, attention.keys)) {
  const int64_t rows = TileRows(attention);
  const int64_t keys = std::min(kTileKeys, attention.keys);
  const int64_t depth = std::max(attention.depth, attention.value_depth);
  summed_size_ = keys * depth;
  const auto count = static_cast<size_t>(rows);
  kept_.resize(count);
  tile_kept_.resize(count);
  if (attention.mask.mask != nullptr) {
    mask_rows_.resize(count);
    tile_mask_.resize(count);
    key_kept_.resize(static_cast<size_t>(keys));
  }
  if (attention.bias != nullptr) {
    bias_rows_.resize(count);
    tile_bias_.resize(count);
  }
  tile_.type = attention.type;
  // Not a power of 2, at which a column's entries would fall on few lines of the cache.
  tile_.stride = TilesOf(keys, kPanel) * kPanel + kTileAlignment;
  tile_.kept = tile_kept_.data();
  tile_.softcap = attention.softcap;
  tile_.bias = attention.bias == nullptr ? nullptr : tile_bias_.data();
  tile_.bias_stride = attention.bias_rows.column_stride();
  scores_ = AlignedBuffer<W>(rows * tile_.stride);
  packed_ = AlignedBuffer<W>(PackedSize(keys, depth));
}

template <typename W>
void AttentionWork<W>::SetRows(const RowTile& rows, const W* lse) {
  rows_ = rows;
  tile_.first_row = rows.unit.first_row + rows.first;
  tile_.rows = rows.rows;
  keys_ = {unit().keys(), 0};
  const ScoreMask& mask = attention_.mask;
  for (int64_t r = 0; r < tile_.rows; ++r) {
    const int64_t row = tile_.first_row + r;
    const auto at = static_cast<size_t>(r);
    Interval kept = mask.shape(unit().MaskRow(rows.first + r), unit().keys());
    if (lse != nullptr && lse[row] == -std::numeric_limits<W>::infinity()) kept.end = kept.begin;
    if (mask.mask != nullptr) {
      mask_rows_[at] = mask.mask + mask.mask_rows.Offset(row);
      // One entry for all keys is no test for each of them.
      const bool all_keys = mask.mask_rows.column_stride() == 0;
      if (all_keys && CountTrue(mask_rows_[at], 1) == 0) kept.end = kept.begin;
    }
    if (attention_.bias != nullptr) {
      bias_rows_[at] = static_cast<const uint8_t*>(attention_.bias) +
                       attention_.bias_rows.Offset(row) * RealBytes(attention_.type);
    }
    kept_[at] = kept;
    if (kept.begin == kept.end) continue;
    keys_.begin = std::min(keys_.begin, kept.begin);
    keys_.end = std::max(keys_.end, kept.end);
  }
  q_ = wide_q_.Queries(unit(), rows.first, rows.rows);
}

template <typename W>
bool AttentionWork<W>::SetKeys(int64_t begin, int64_t end) {
  const auto rows = static_cast<size_t>(tile_.rows);
  Interval some{end, begin};
  for (size_t r = 0; r < rows; ++r) {
    tile_kept_[r] = {std::max(kept_[r].begin, begin), std::min(kept_[r].end, end)};
    if (tile_kept_[r].begin >= tile_kept_[r].end) continue;
    some.begin = std::min(some.begin, tile_kept_[r].begin);
    some.end = std::max(some.end, tile_kept_[r].end);
  }
  if (some.begin >= some.end) return false;
  tile_.first_key = some.begin;
  tile_.columns = some.end - some.begin;
  const int64_t bias_bytes = tile_.first_key * tile_.bias_stride * RealBytes(tile_.type);
  for (size_t r = 0; r < rows; ++r) {
    const Interval kept = tile_kept_[r];
    tile_kept_[r] = kept.begin < kept.end ? Interval{kept.begin - some.begin, kept.end - some.begin}
                                          : Interval{0, 0};
    if (attention_.bias != nullptr) tile_bias_[r] = bias_rows_[r] + bias_bytes;
  }
  tile_.mask = nullptr;
  if (attention_.mask.mask != nullptr && attention_.mask.mask_rows.column_stride() == 1) {
    int64_t kept = 0;
    int64_t entries = 0;
    for (size_t r = 0; r < rows; ++r) {
      tile_mask_[r] = mask_rows_[r] + tile_.first_key;
      const int64_t in_row = tile_kept_[r].end - tile_kept_[r].begin;
      kept += CountTrue(tile_mask_[r] + tile_kept_[r].begin, in_row);
      entries += in_row;
    }
    if (kept == 0) return false;
    if (kept < entries) tile_.mask = tile_mask_.data();
  }
  k_ = wide_k_.Keys(unit(), tile_.first_key, tile_.columns);
  return true;
}

template <typename W>
void AttentionWork<W>::Products(
    const AttentionTile& tile, double alpha, const W* a, StridedRows<W> rows, int64_t depth,
    W* products) {
  // To pack costs as much as the products of a few rows.
  constexpr int64_t kWorthPacking = 4;
  const Real type = tile.type;
  if (tile.rows < kWorthPacking) {
    RowProducts(
        type, tile.rows, tile.columns, depth, alpha, a, rows.data, rows.stride, products,
        tile.stride);
  } else {
    W* const packed = packed_.data();
    PackTransposed(type, rows.data, rows.stride, tile.columns, depth, packed);
    PackedProduct(type, tile.rows, tile.columns, depth, alpha, a, packed, products, tile.stride);
  }
}

template <typename W>
ScoreTile AttentionWork<W>::Scores(const AttentionTile& tile) {
  Products(tile, attention_.scale, q_, k_, attention_.depth, scores_.data());
  return {tile, scores_.data()};
}

// Whether all entries of some rows are.
template <typename W>
bool AllFiniteRows(Real type, StridedRows<W> rows, int64_t count, int64_t depth) {
  if (rows.stride == depth) return AllFinite(type, rows.data, count * depth);
  for (int64_t r = 0; r < count; ++r) {
    if (!AllFinite(type, rows.At(r), depth)) return false;
  }
  return true;
}

template <typename W>
void AttentionWork<W>::FindKeptKeys(const AttentionTile& tile) {
  uint8_t* const kept = key_kept_.data();
  std::fill_n(kept, tile.columns, uint8_t{0});
  for (int64_t r = 0; r < tile.rows; ++r) {
    const Interval in_row = tile.kept[r];
    // Any byte but 0 is true, and is no bool of C++.
    const auto* const mask = reinterpret_cast<const uint8_t*>(tile.mask[r]);
    for (int64_t j = in_row.begin; j < in_row.end; ++j) kept[j] |= mask[j];
  }
}

template <typename W>
StridedRows<W> AttentionWork<W>::Summed(
    const AttentionTile& tile, StridedRows<W> rows, int64_t depth) {
  // Rows that lie apart are on as many pages, and a product goes over them once for each few
  // columns: of many rows, it takes less time where they are copied first.
  constexpr int64_t kWorthCopying = 16;
  const bool copies = rows.stride != depth && tile.rows >= kWorthCopying;
  const bool clears = tile.mask != nullptr && !AllFiniteRows(tile.type, rows, tile.columns, depth);
  if (!copies && !clears) return rows;
  if (summed_.data() == nullptr) summed_ = AlignedBuffer<W>(summed_size_);
  if (clears) FindKeptKeys(tile);
  for (int64_t j = 0; j < tile.columns; ++j) {
    W* const to = summed_.data() + j * depth;
    if (clears && key_kept_[static_cast<size_t>(j)] == 0) {
      std::fill_n(to, depth, W{0});
    } else {
      std::copy_n(rows.At(j), depth, to);
    }
  }
  return {summed_.data(), depth};
}

template class AttentionWork<float>;
template class AttentionWork<double>;

}  // namespace caffe2op_mask
