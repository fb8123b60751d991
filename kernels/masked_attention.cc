#include "kernels/masked_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/attention_work.h"

namespace caffe2op_mask {
namespace {

template <typename T>
class Forward : public AttentionWork<T> {
 public:
  using W = Wide<T>;

  explicit Forward(const AttentionOf<T>& attention)
      : AttentionWork<T>(attention),
        rows_(std::min(kTileQueries, UnitRows(attention))),
        max_(rows_),
        sum_(rows_),
        output_(rows_ * attention.value_depth) {}

  // Rows of a unit from their first to their last key.
  void Run(int64_t unit, int64_t first, int64_t rows, T* o, W* lse) {
    const AttentionOf<T>& in = this->attention();
    const int64_t depth = in.value_depth;
    W* const output = output_.data();
    this->SetRows(unit, first, rows);
    BeginSoftmax(in, this->first_row(), rows, max_.data(), sum_.data());
    bool started = false;
    this->ForEachTile(0, in.keys, [&] {
      const ScoreTile<T>& tile = this->Scores();
      SoftmaxTile(tile, max_.data(), sum_.data(), started ? output : nullptr, depth);
      TileProduct(
          rows, depth, tile.columns, 1, {tile.scores, tile.stride, 1}, this->SummedV(), depth,
          started, output, depth);
      started = true;
    });
    if (!started) std::fill_n(output, rows * depth, W{0});
    const bool finite = AllFinite(output, rows * depth);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = this->first_row() + r;
      const W sum = sum_.data()[r];
      // Of a row that has a score, the greatest alone adds 1.
      const W log_sum =
          sum == 0 ? -std::numeric_limits<W>::infinity() : max_.data()[r] + std::log(sum);
      if (lse != nullptr) lse[row] = log_sum;
      T* const out = o + row * depth;
      W* const weighed = output + r * depth;
      if (sum == 0) {
        FillEmpty(row, weighed);
        WriteRow(weighed, W{1}, depth, out);
      } else if (finite || AllFinite(weighed, depth)) {
        WriteRow(weighed, 1 / sum, depth, out);
      } else {
        WeighEntries(row, weighed);
        WriteRow(weighed, W{1}, depth, out);
      }
    }
  }

 private:
  void FillEmpty(int64_t row, W* out) const {
    const AttentionOf<T>& in = this->attention();
    const int64_t depth = in.value_depth;
    // Without keys there is nothing to weigh, by NaN or by what else: a sum of nothing.
    const bool nan = in.empty_row == EmptyRow::kNaN && in.keys > 0;
    std::fill_n(out, depth, nan ? std::numeric_limits<W>::quiet_NaN() : W{0});
    if (in.empty_row != EmptyRow::kUniform || in.keys == 0) return;
    const T* const v = in.v + row / UnitRows(in) * in.keys * depth;
    for (int64_t i = 0; i < depth; ++i) {
      double sum = 0;
      for (int64_t key = 0; key < in.keys; ++key) sum += double{Entry(v + key * depth + i)};
      out[i] = static_cast<W>(sum / static_cast<double>(in.keys));
    }
  }

  // The row's output from what it keeps alone, where its sums met what is not finite: mostly a
  // key that it keeps, or that other rows of its tile do. Scores are summed up in another order
  // than in a tile, and so are large ones rounded: they are weighed by their own greatest and sum.
  void WeighEntries(int64_t row, W* out) const {
    const AttentionOf<T>& in = this->attention();
    const int64_t depth = in.value_depth;
    const T* const v = in.v + row / UnitRows(in) * in.keys * depth;
    std::vector<std::pair<int64_t, W>> weights;
    const W sink = SinkScore(in, row);
    W greatest = sink;
    for (int64_t key = 0; key < in.keys; ++key) {
      if (!KeepsKey(in, row, key)) continue;
      W slope;
      weights.emplace_back(key, EntryScore(in, row, key, &slope));
      greatest = std::max(weights.back().second, greatest);
    }
    W sum = std::exp(sink - greatest);
    for (auto& [key, weight] : weights) {
      weight = std::exp(weight - greatest);
      sum += weight;
    }
    std::fill_n(out, depth, W{0} / sum);  // NaN beside a sink that is not finite
    for (const auto& [key, weight] : weights) {
      for (int64_t i = 0; i < depth; ++i) out[i] += weight / sum * Entry(v + key * depth + i);
    }
  }

  const int64_t rows_;
  AlignedBuffer<W> max_;
  AlignedBuffer<W> sum_;
  AlignedBuffer<W> output_;  // not yet divided by the sums
};

}  // namespace

void MaskedAttention(
    const Attention& attention, void* o, void* lse, int64_t threads, ParallelFor parallel_for) {
  if (attention.value_depth == 0 && lse == nullptr) return;
  WithElement(attention.type, [&](auto element) {
    using T = decltype(element);
    const AttentionOf<T> typed(attention);
    const int64_t unit_rows = UnitRows(typed);
    const int64_t tiles = TilesOf(unit_rows, kTileQueries);
    const int64_t tasks = Units(typed) * tiles;
    const auto run = [&](Forward<T>* work, int64_t task) {
      // Backwards, since the later rows of a causal mask keep more: the small tasks come
      // last and fill the gaps.
      const int64_t tile = tasks - 1 - task;
      const int64_t first = tile % tiles * kTileQueries;
      work->Run(
          tile / tiles, first, std::min(kTileQueries, unit_rows - first), static_cast<T*>(o),
          static_cast<Wide<T>*>(lse));
    };
    ForEachTask<Forward<T>>(typed, tasks, threads, parallel_for, run);
  });
}

}  // namespace caffe2op_mask
