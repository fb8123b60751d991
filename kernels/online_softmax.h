#pragma once

// The softmax of rows of scores that come tile by tile.

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/aligned_buffer.h"
#include "kernels/attention_tasks.h"
#include "kernels/attention_tile.h"
#include "kernels/wide_rows.h"

namespace caffe2op_mask {

// The score of a row, counted over all units, beside those of its keys; -inf where it has none.
template <typename W>
class RowSinks {
 public:
  explicit RowSinks(const Attention& attention)
      : attention_(attention), sinks_(attention.type, attention.sinks, 1) {}

  W At(int64_t row) const {
    if (attention_.sinks == nullptr) return -std::numeric_limits<W>::infinity();
    return *sinks_.At(row / attention_.queries % attention_.heads);
  }

 private:
  const Attention& attention_;
  WideRows<W> sinks_;
};

template <typename W>
class OnlineSoftmax {
 public:
  explicit OnlineSoftmax(const Attention& attention)
      : sinks_(attention), max_(TileRows(attention)), sum_(TileRows(attention)) {}

  // Turns to rows [first, first + rows), counted over all units, which have nothing but their
  // sinks yet.
  void Begin(int64_t first, int64_t rows) {
    for (int64_t r = 0; r < rows; ++r) {
      const W sink = sinks_.At(first + r);
      max_.data()[r] = sink;
      // 1, but NaN where the sink is not finite, as of a key with such a score.
      sum_.data()[r] = sink == -std::numeric_limits<W>::infinity() ? 0 : std::exp(sink - sink);
    }
  }

  // See SoftmaxTile.
  ProbabilityTile Add(ScoreTile scores, W* output, int64_t depth) {
    return SoftmaxTile(scores, max_.data(), sum_.data(), output, depth);
  }

  // Of each row: the greatest score, the sum of exp(score - greatest) and its logarithm.
  W max(int64_t r) const { return max_.data()[r]; }
  W sum(int64_t r) const { return sum_.data()[r]; }
  W LogSum(int64_t r) const {
    // Of a row that has a score, the greatest alone adds 1.
    return sum(r) == 0 ? -std::numeric_limits<W>::infinity() : max(r) + std::log(sum(r));
  }

 private:
  RowSinks<W> sinks_;
  AlignedBuffer<W> max_;
  AlignedBuffer<W> sum_;
};

}  // namespace caffe2op_mask
