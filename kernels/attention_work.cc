#include "kernels/attention_work.h"

#include <limits>

namespace caffe2op_mask {

template <typename T>
AttentionWork<T>::AttentionWork(const AttentionOf<T>& attention) : attention_(attention) {
  const int64_t rows = std::min(kTileQueries, UnitRows(attention));
  const int64_t keys = std::min(kTileKeys, attention.keys);
  const auto count = static_cast<size_t>(rows);
  kept_.resize(count);
  tile_kept_.resize(count);
  if (attention.mask.mask != nullptr) {
    mask_rows_.resize(count);
    tile_mask_.resize(count);
  }
  if (attention.bias != nullptr) {
    bias_rows_.resize(count);
    tile_bias_.resize(count);
  }
  // Not a power of 2, at which a column's entries would fall on few lines of the cache.
  tile_.stride = TilesOf(keys, kPanel) * kPanel + kTileAlignment;
  scores_ = AlignedBuffer<W>(rows * tile_.stride);
  tile_.scores = scores_.data();
  tile_.kept = tile_kept_.data();
  tile_.softcap = attention.softcap;
  tile_.bias = attention.bias == nullptr ? nullptr : tile_bias_.data();
  tile_.bias_stride = attention.bias_rows.column_stride();
  wide_q_ = RoomToWiden<T>(rows * attention.depth);
  const bool masked = attention.mask.mask != nullptr;
  wide_k_ = RoomToWiden<T>(keys * attention.depth, masked);
  wide_v_ = RoomToWiden<T>(keys * attention.value_depth, masked);
  key_kept_.resize(masked ? static_cast<size_t>(keys) : 0);
  packed_ = AlignedBuffer<W>(PackedSize(keys, std::max(attention.depth, attention.value_depth)));
}

template <typename T>
void AttentionWork<T>::SetRows(int64_t unit, int64_t first, int64_t rows, const W* lse) {
  unit_ = unit;
  rows_ = rows;
  first_row_ = unit * UnitRows(attention_) + first;
  keys_ = {attention_.keys, 0};
  const ScoreMask& mask = attention_.mask;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = first_row_ + r;
    const auto at = static_cast<size_t>(r);
    Interval kept = mask.shape(row, attention_.keys);
    if (lse != nullptr && lse[row] == -std::numeric_limits<W>::infinity()) kept.end = kept.begin;
    if (mask.mask != nullptr) {
      mask_rows_[at] = mask.mask + mask.mask_rows.Offset(row);
      // One entry for all keys is no test for each of them.
      const bool all_keys = mask.mask_rows.column_stride() == 0;
      if (all_keys && CountTrue(mask_rows_[at], 1) == 0) kept.end = kept.begin;
    }
    if (attention_.bias != nullptr) {
      bias_rows_[at] = attention_.bias + attention_.bias_rows.Offset(row);
    }
    kept_[at] = kept;
    if (kept.begin == kept.end) continue;
    keys_.begin = std::min(keys_.begin, kept.begin);
    keys_.end = std::max(keys_.end, kept.end);
  }
  const int64_t depth = attention_.depth;
  q_ = Widened(attention_.q + first_row_ * depth, rows * depth, wide_q_.data());
}

template <typename T>
bool AttentionWork<T>::SetKeys(int64_t begin, int64_t end) {
  const auto rows = static_cast<size_t>(rows_);
  Interval some{end, begin};
  for (size_t r = 0; r < rows; ++r) {
    tile_kept_[r] = {std::max(kept_[r].begin, begin), std::min(kept_[r].end, end)};
    if (tile_kept_[r].begin >= tile_kept_[r].end) continue;
    some.begin = std::min(some.begin, tile_kept_[r].begin);
    some.end = std::max(some.end, tile_kept_[r].end);
  }
  if (some.begin >= some.end) return false;
  first_key_ = some.begin;
  tile_.rows = rows_;
  tile_.columns = some.end - some.begin;
  for (size_t r = 0; r < rows; ++r) {
    tile_kept_[r] = tile_kept_[r].begin < tile_kept_[r].end
                        ? Interval{tile_kept_[r].begin - first_key_, tile_kept_[r].end - first_key_}
                        : Interval{0, 0};
    if (attention_.bias != nullptr) {
      tile_bias_[r] = bias_rows_[r] + first_key_ * tile_.bias_stride;
    }
  }
  tile_.mask = nullptr;
  if (attention_.mask.mask != nullptr && attention_.mask.mask_rows.column_stride() == 1) {
    int64_t kept = 0;
    int64_t entries = 0;
    for (size_t r = 0; r < rows; ++r) {
      tile_mask_[r] = mask_rows_[r] + first_key_;
      const int64_t in_row = tile_kept_[r].end - tile_kept_[r].begin;
      kept += CountTrue(tile_mask_[r] + tile_kept_[r].begin, in_row);
      entries += in_row;
    }
    if (kept == 0) return false;
    if (kept < entries) tile_.mask = tile_mask_.data();
  }
  const int64_t depth = attention_.depth;
  k_ = Widened(
      attention_.k + (unit_ * attention_.keys + first_key_) * depth, tile_.columns * depth,
      wide_k_.data());
  return true;
}

template <typename T>
void AttentionWork<T>::Products(W alpha, const W* a, const W* rows, int64_t depth, W* products) {
  // To pack costs as much as the products of a few rows.
  constexpr int64_t kWorthPacking = 4;
  if (rows_ < kWorthPacking) {
    RowProducts(rows_, tile_.columns, depth, alpha, a, rows, products, tile_.stride);
  } else {
    PackTransposed(rows, tile_.columns, depth, packed_.data());
    PackedProduct(rows_, tile_.columns, depth, alpha, a, packed_.data(), products, tile_.stride);
  }
}

template <typename T>
const ScoreTile<T>& AttentionWork<T>::Scores() {
  Products(attention_.scale, q_, k_, attention_.depth, tile_.scores);
  return tile_;
}

template <typename T>
const Wide<T>* AttentionWork<T>::v() {
  const int64_t depth = attention_.value_depth;
  return Widened(
      attention_.v + (unit_ * attention_.keys + first_key_) * depth, tile_.columns * depth,
      wide_v_.data());
}

template <typename T>
const Wide<T>* AttentionWork<T>::Clear(const W* rows, int64_t depth, W* buffer) {
  const int64_t columns = tile_.columns;
  if (tile_.mask == nullptr || AllFinite(rows, columns * depth)) return rows;
  if (rows != buffer) std::copy_n(rows, columns * depth, buffer);
  uint8_t* const kept = key_kept_.data();
  std::fill_n(kept, columns, uint8_t{0});
  for (size_t r = 0; r < static_cast<size_t>(rows_); ++r) {
    const Interval in_row = tile_kept_[r];
    // Any byte but 0 is true, and is no bool of C++.
    const auto* const mask = reinterpret_cast<const uint8_t*>(tile_mask_[r]);
    for (int64_t j = in_row.begin; j < in_row.end; ++j) kept[j] |= mask[j];
  }
  for (int64_t j = 0; j < columns; ++j) {
    if (kept[j] == 0) std::fill_n(buffer + j * depth, depth, W{0});
  }
  return buffer;
}

template class AttentionWork<Float16>;
template class AttentionWork<BFloat16>;
template class AttentionWork<float>;
template class AttentionWork<double>;

}  // namespace caffe2op_mask
