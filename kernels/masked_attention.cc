#include "kernels/masked_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/attention_entries.h"
#include "kernels/attention_tasks.h"
#include "kernels/attention_work.h"
#include "kernels/online_softmax.h"
#include "kernels/tile_product.h"

namespace caffe2op_mask {
namespace {

template <typename W>
class Forward {
 public:
  explicit Forward(const Attention& attention)
      : in_(attention),
        work_(attention),
        entries_(attention),
        softmax_(attention),
        output_(TileRows(attention) * attention.value_depth) {}

  // Rows from their first to their last key.
  void Run(const RowTile& at, const OutputRows& o, const OutputRows& lse) {
    const Unit& unit = at.unit;
    const int64_t rows = at.rows;
    const int64_t depth = in_.value_depth;
    W* const output = output_.data();
    work_.SetRows(at);
    softmax_.Begin(at);
    bool started = false;
    work_.ForEachTile(0, unit.keys(), [&](const AttentionTile& tile) {
      const ProbabilityTile p = softmax_.Add(work_.Scores(tile), started ? output : nullptr, depth);
      const StridedRows<W> v = work_.SummedV(tile);
      TileProduct(
          in_.type, rows, depth, tile.columns, 1, {p.at, tile.stride, 1}, v.data, v.stride, started,
          output, depth);
      started = true;
    });
    if (!started) std::fill_n(output, rows * depth, W{0});
    const bool finite = AllFinite(in_.type, output, rows * depth);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = at.first + r;
      const W sum = softmax_.sum(r);
      if (lse.data != nullptr) {
        static_cast<W*>(lse.data)[unit.OfRow(lse.strides, row)] = softmax_.LogSum(r);
      }
      W* const weighed = output + r * depth;
      W factor = 1;
      if (sum == 0) {
        FillEmpty(unit, weighed);
      } else if (finite || AllFinite(in_.type, weighed, depth)) {
        factor = 1 / sum;
      } else {
        WeighEntries(unit, row, weighed);
      }
      WriteRow(in_.type, weighed, double{factor}, depth, o.data, unit.OfRow(o.strides, row));
    }
  }

 private:
  void FillEmpty(const Unit& unit, W* out) const {
    const int64_t depth = in_.value_depth;
    // Without keys there is nothing to weigh, by NaN or by what else: a sum of nothing.
    const bool nan = in_.empty_row == EmptyRow::kNaN && unit.keys() > 0;
    std::fill_n(out, depth, nan ? std::numeric_limits<W>::quiet_NaN() : W{0});
    if (in_.empty_row != EmptyRow::kUniform || unit.keys() == 0) return;
    AlignedBuffer<double> sums(depth);
    std::fill_n(sums.data(), depth, 0.0);
    for (int64_t key = 0; key < unit.keys(); ++key) {
      const W* const v = entries_.V(unit, key);
      for (int64_t i = 0; i < depth; ++i) sums.data()[i] += double{v[i]};
    }
    for (int64_t i = 0; i < depth; ++i) {
      out[i] = static_cast<W>(sums.data()[i] / static_cast<double>(unit.keys()));
    }
  }

  // The row's output from what it keeps alone, where its sums met what is not finite: mostly a
  // key that it keeps, or that other rows of its tile do. Scores are summed up in another order
  // than in a tile, and so are large ones rounded: they are weighed by their own greatest and sum.
  void WeighEntries(const Unit& unit, int64_t row, W* out) const {
    const int64_t depth = in_.value_depth;
    std::vector<std::pair<int64_t, W>> weights;  // of keys
    const W sink = HeadSinks<W>(in_).OfRow(unit, row);
    W greatest = sink;
    entries_.ForEachKept(unit, row, [&](int64_t key) {
      W slope;
      weights.emplace_back(key, entries_.Score(unit, row, key, &slope));
      greatest = std::max(weights.back().second, greatest);
    });
    W sum = std::exp(sink - greatest);
    for (auto& [key, weight] : weights) {
      weight = std::exp(weight - greatest);
      sum += weight;
    }
    std::fill_n(out, depth, W{0} / sum);  // NaN beside a sink that is not finite
    for (const auto& [key, weight] : weights) {
      const W* const v = entries_.V(unit, key);
      for (int64_t i = 0; i < depth; ++i) out[i] += weight / sum * v[i];
    }
  }

  const Attention& in_;
  AttentionWork<W> work_;
  AttentionEntries<W> entries_;
  OnlineSoftmax<W> softmax_;
  AlignedBuffer<W> output_;  // not yet divided by the sums
};

template <typename W>
void Run(const Attention& in, const OutputRows& o, const OutputRows& lse, const Threads& threads) {
  const UnitTiles tiles = UnitTiles::OfRows(in);
  ForEachTask(
      in, tiles.count(), threads, [&] { return Forward<W>(in); },
      [&](Forward<W>* work, int64_t task) {
        // Backwards, since the later rows of a causal mask keep more: the small tasks come
        // last and fill the gaps.
        work->Run(tiles.At(tiles.count() - 1 - task), o, lse);
      });
}

}  // namespace

void MaskedAttention(
    const Attention& attention, const OutputRows& o, const OutputRows& lse, int64_t threads,
    ParallelFor parallel_for) {
  if (attention.value_depth == 0 && lse.data == nullptr) return;
  WithWide(attention.type, [&](auto wide) {
    Run<decltype(wide)>(attention, o, lse, {threads, parallel_for});
  });
}

}  // namespace caffe2op_mask
