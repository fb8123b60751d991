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

  // Rows of a unit, counted over all units, from their first to their last key.
  void Run(int64_t first, int64_t rows, void* o, W* lse) {
    const int64_t depth = in_.value_depth;
    W* const output = output_.data();
    work_.SetRows(first, rows);
    softmax_.Begin(first, rows);
    bool started = false;
    work_.ForEachTile(0, in_.keys, [&](const AttentionTile& tile) {
      const ProbabilityTile p = softmax_.Add(work_.Scores(tile), started ? output : nullptr, depth);
      TileProduct(
          in_.type, rows, depth, tile.columns, 1, {p.at, tile.stride, 1}, work_.SummedV(tile),
          depth, started, output, depth);
      started = true;
    });
    if (!started) std::fill_n(output, rows * depth, W{0});
    const bool finite = AllFinite(in_.type, output, rows * depth);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = first + r;
      const W sum = softmax_.sum(r);
      if (lse != nullptr) lse[row] = softmax_.LogSum(r);
      W* const weighed = output + r * depth;
      W factor = 1;
      if (sum == 0) {
        FillEmpty(row, weighed);
      } else if (finite || AllFinite(in_.type, weighed, depth)) {
        factor = 1 / sum;
      } else {
        WeighEntries(row, weighed);
      }
      WriteRow(in_.type, weighed, double{factor}, depth, o, row * depth);
    }
  }

 private:
  void FillEmpty(int64_t row, W* out) const {
    const int64_t depth = in_.value_depth;
    // Without keys there is nothing to weigh, by NaN or by what else: a sum of nothing.
    const bool nan = in_.empty_row == EmptyRow::kNaN && in_.keys > 0;
    std::fill_n(out, depth, nan ? std::numeric_limits<W>::quiet_NaN() : W{0});
    if (in_.empty_row != EmptyRow::kUniform || in_.keys == 0) return;
    const int64_t first = row / UnitRows(in_) * in_.keys;
    AlignedBuffer<double> sums(depth);
    std::fill_n(sums.data(), depth, 0.0);
    for (int64_t key = 0; key < in_.keys; ++key) {
      const W* const v = entries_.V(first + key);
      for (int64_t i = 0; i < depth; ++i) sums.data()[i] += double{v[i]};
    }
    for (int64_t i = 0; i < depth; ++i) {
      out[i] = static_cast<W>(sums.data()[i] / static_cast<double>(in_.keys));
    }
  }

  // The row's output from what it keeps alone, where its sums met what is not finite: mostly a
  // key that it keeps, or that other rows of its tile do. Scores are summed up in another order
  // than in a tile, and so are large ones rounded: they are weighed by their own greatest and sum.
  void WeighEntries(int64_t row, W* out) const {
    const int64_t depth = in_.value_depth;
    std::vector<std::pair<int64_t, W>> weights;  // of keys
    const W sink = RowSinks<W>(in_).At(row);
    W greatest = sink;
    entries_.ForEachKept(row, [&](int64_t key) {
      W slope;
      weights.emplace_back(key, entries_.Score(row, key, &slope));
      greatest = std::max(weights.back().second, greatest);
    });
    W sum = std::exp(sink - greatest);
    for (auto& [key, weight] : weights) {
      weight = std::exp(weight - greatest);
      sum += weight;
    }
    std::fill_n(out, depth, W{0} / sum);  // NaN beside a sink that is not finite
    for (const auto& [key, weight] : weights) {
      const W* const v = entries_.V(key);
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
void Run(const Attention& in, void* o, W* lse, const Threads& threads) {
  const int64_t tasks = RowTiles(in);
  ForEachTask(
      in, tasks, threads, [&] { return Forward<W>(in); },
      [&](Forward<W>* work, int64_t task) {
        // Backwards, since the later rows of a causal mask keep more: the small tasks come
        // last and fill the gaps.
        const RowTile tile = RowTileAt(in, tasks - 1 - task);
        work->Run(tile.first, tile.rows, o, lse);
      });
}

}  // namespace

void MaskedAttention(
    const Attention& attention, void* o, void* lse, int64_t threads, ParallelFor parallel_for) {
  if (attention.value_depth == 0 && lse == nullptr) return;
  WithWide(attention.type, [&](auto wide) {
    Run(attention, o, static_cast<decltype(wide)*>(lse), {threads, parallel_for});
  });
}

}  // namespace caffe2op_mask
