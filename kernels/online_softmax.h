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

// The score of a head's rows beside those of their keys; -inf where there is none.
template <typename W>
class HeadSinks {
 public:
  explicit HeadSinks(const Attention& attention)
      : has_sinks_(attention.sinks != nullptr), sinks_(attention.type, {attention.sinks, {}}, 1) {}

  W At(int64_t head) const { return has_sinks_ ? *sinks_.At(head) : kNone; }
  W OfRow(const Unit& unit, int64_t row) const {
    return has_sinks_ ? *sinks_.At(unit.Head(row)) : kNone;
  }

 private:
  static constexpr W kNone = -std::numeric_limits<W>::infinity();

  bool has_sinks_;
  WideRows<W> sinks_;
};

template <typename W>
class OnlineSoftmax {
 public:
  explicit OnlineSoftmax(const Attention& attention)
      : sinks_(attention), max_(TileRows(attention)), sum_(TileRows(attention)) {}

  // Turns to rows which have nothing but their sinks yet.
  void Begin(const RowTile& rows) {
    for (int64_t r = 0; r < rows.rows; ++r) {
      const W sink = sinks_.OfRow(rows.unit, rows.first + r);
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
  HeadSinks<W> sinks_;
  AlignedBuffer<W> max_;
  AlignedBuffer<W> sum_;
};

}  // namespace caffe2op_mask
