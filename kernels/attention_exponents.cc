#include "kernels/attention_exponents.h"

#include <algorithm>

#include "kernels/attention_work.h"
#include "kernels/online_softmax.h"

namespace caffe2op_mask {
namespace {

// Whether lse is too large to say probabilities: beyond this a float has less than 17
// bits behind the point, which would be as many bits of them.
template <typename W>
bool IsCoarse(W lse) {
  return std::abs(lse) > 128 && std::isfinite(lse);
}

template <typename W>
struct SumWork {
  explicit SumWork(const Attention& attention) : rows(attention), softmax(attention) {}

  AttentionWork<W> rows;
  OnlineSoftmax<W> softmax;
};

}  // namespace

template <typename W>
RowExponents<W>::RowExponents(const Attention& attention, const W* lse, const Threads& threads)
    : base_(lse) {
  const int64_t rows = AllRows(attention);
  if (std::none_of(lse, lse + rows, IsCoarse<W>)) return;
  bases_ = AlignedBuffer<W>(rows);
  factors_ = AlignedBuffer<W>(rows);
  W* const bases = bases_.data();
  W* const factors = factors_.data();
  std::copy_n(lse, rows, bases);
  std::fill_n(factors, rows, W{1});
  const UnitTiles tiles = UnitTiles::OfRows(attention);
  ForEachTask(
      attention, tiles.count(), threads, [&] { return SumWork<W>(attention); },
      [&](SumWork<W>* work, int64_t task) {
        const RowTile tile = tiles.At(task);
        const int64_t first = tile.first_of_all();
        const W* const own = lse + first;
        if (std::none_of(own, own + tile.rows, IsCoarse<W>)) return;
        work->rows.SetRows(tile, lse);
        work->softmax.Begin(tile);
        work->rows.ForEachTile(0, tile.unit.keys(), [&](const AttentionTile& keys) {
          work->softmax.Add(work->rows.Scores(keys), nullptr, 0);
        });
        for (int64_t r = 0; r < tile.rows; ++r) {
          if (!IsCoarse(own[r]) || work->softmax.sum(r) == 0) continue;
          bases[first + r] = work->softmax.max(r);
          factors[first + r] = 1 / work->softmax.sum(r);
        }
      });
  base_ = bases;
  factor_ = factors;
}

template class RowExponents<float>;
template class RowExponents<double>;

}  // namespace caffe2op_mask
