#include "kernels/attention_bias_gradient.h"

#include <algorithm>

#include "kernels/broadcast.h"

namespace caffe2op_mask {
namespace {

// Parts of each sum, more or less, so that what they take is little beside the scores.
constexpr int64_t kParts = 64;

BroadcastSum SumOf(const RowBroadcast& at) {
  return BroadcastSum(
      at, std::max(int64_t{1} << 16, BroadcastSum::kColumns * (at.repeats() / kParts + 1)));
}

// How the scores of a bias are added up. Rows of the bias that serve, time by time, rows of one
// unit that follow one another are a block: a tile computes them at once. Blocks take the
// same units of a BroadcastSum for all of their rows.
class BiasBlocks {
 public:
  explicit BiasBlocks(const Attention& attention)
      : attention_(attention),
        at_(attention.bias_rows),
        sum_(SumOf(at_)),
        unit_rows_(UnitRows(attention)) {
    const int64_t most = std::min(at_.small_rows(), unit_rows_);
    while (at_.rows() > 0 && run_ < most && at_.Row(run_, 0) == run_) ++run_;
  }

  struct Block {
    int64_t rows;
    BroadcastSum::Unit unit;  // of the first row
  };

  // None where there is nothing to add up.
  int64_t blocks() const { return at_.small_rows() / run_ * Tiles() * Pieces(); }
  Block BlockAt(int64_t index) const {
    const int64_t tile = index / Pieces();
    const int64_t in_run = tile % Tiles() * kTileQueries;
    const int64_t row = tile / Tiles() * run_ + in_run;
    return {std::min(kTileQueries, run_ - in_run), sum_.UnitAt(row * Pieces() + index % Pieces())};
  }
  bool by_column() const { return at_.column_stride() != 0; }
  int64_t parts() const { return sum_.parts(); }  // of each entry's sum

  // Calls f(rows) for the rows of scores that a block adds up: each time those of its rows or, of
  // a single one, those of times on end.
  template <class F>
  void ForEachRows(const Block& block, const F& f) const {
    const int64_t end = block.unit.repeat + block.unit.repeats;
    for (int64_t k = block.unit.repeat; k < end;) {
      const int64_t first = at_.Row(block.unit.small_row, k);
      int64_t times = 1;
      if (block.rows == 1) {
        const int64_t most = std::min({kTileQueries, end - k, unit_rows_ - first % unit_rows_});
        while (times < most && at_.Row(block.unit.small_row, k + times) == first + times) ++times;
      }
      const Unit unit = UnitAt(attention_, first / unit_rows_);
      f(RowTile{unit, first - unit.first_row, block.rows * times});
      k += times;
    }
  }

 private:
  int64_t Tiles() const { return TilesOf(run_, kTileQueries); }
  int64_t Pieces() const { return at_.small_rows() == 0 ? 1 : sum_.units() / at_.small_rows(); }

  const Attention& attention_;
  const RowBroadcast& at_;
  BroadcastSum sum_;
  int64_t unit_rows_;
  int64_t run_ = 1;  // rows of the bias on end that serve such rows
};

// The sums of a block, rows of `columns` entries.
template <typename W>
void SumBlock(
    const BiasBlocks& blocks, const BiasBlocks::Block& block, int64_t columns,
    AttentionGradientWork<W>* work, double* sums) {
  const BroadcastSum::Unit& unit = block.unit;
  std::fill_n(sums, block.rows * columns, 0.0);
  blocks.ForEachRows(block, [&](const RowTile& rows) {
    work->SetRows(rows);
    work->ForEachTile(unit.column, unit.column + unit.columns, [&](ProbabilityTile p) {
      const GradientTile ds = work->ScoreGradients(p);
      const AttentionTile& tile = ds.tile;
      for (int64_t r = 0; r < tile.rows; ++r) {
        const W* const from = static_cast<const W*>(ds.at) + r * tile.stride;
        double* const to = sums + (block.rows == 1 ? 0 : r * columns);
        if (blocks.by_column()) {
          for (int64_t j = 0; j < tile.columns; ++j) {
            to[tile.first_key - unit.column + j] += double{from[j]};
          }
        } else {
          for (int64_t j = 0; j < tile.columns; ++j) *to += double{from[j]};
        }
      }
    });
  });
}

// dbias[first, first + count) becomes the sums, rounded.
template <typename W>
void WriteSums(Real type, const double* sums, int64_t first, int64_t count, void* dbias) {
  AlignedBuffer<W> rounded(count);
  std::copy_n(sums, count, rounded.data());
  WriteRow(type, rounded.data(), 1, count, dbias, first);
}

}  // namespace

template <typename W>
void BiasGradient(const GradientInputs<W>& inputs, void* dbias, const Threads& threads) {
  const Attention& in = inputs.attention;
  const RowBroadcast& at = in.bias_rows;
  const int64_t entries = at.small_rows() * at.small_columns();
  const BiasBlocks blocks(in);
  const int64_t parts = blocks.parts();
  // A part alone goes to where it belongs at once.
  AlignedBuffer<double> sums(parts == 1 ? 0 : parts * entries);
  std::fill_n(sums.data(), parts == 1 ? 0 : parts * entries, 0.0);
  ForEachTask(
      in, blocks.blocks(), threads, [&] { return AttentionGradientWork<W>(inputs); },
      [&](AttentionGradientWork<W>* work, int64_t task) {
        const BiasBlocks::Block block = blocks.BlockAt(task);
        const int64_t columns = blocks.by_column() ? block.unit.columns : 1;
        AlignedBuffer<double> own(block.rows * columns);
        SumBlock(blocks, block, columns, work, own.data());
        const int64_t column = blocks.by_column() ? block.unit.column : 0;
        for (int64_t r = 0; r < block.rows; ++r) {
          const double* const row = own.data() + r * columns;
          const int64_t first = (block.unit.small_row + r) * at.small_columns() + column;
          if (parts == 1) {
            WriteSums<W>(in.type, row, first, columns, dbias);
          } else {
            std::copy_n(row, columns, sums.data() + block.unit.part * entries + first);
          }
        }
      });
  if (parts == 1) return;
  threads.parallel_for(0, entries, GrainFor(parts * 8), [&](int64_t begin, int64_t end) {
    AlignedBuffer<double> total(end - begin);
    std::fill_n(total.data(), end - begin, 0.0);
    for (int64_t part = 0; part < parts; ++part) {
      const double* const from = sums.data() + part * entries + begin;
      for (int64_t i = 0; i < end - begin; ++i) total.data()[i] += from[i];
    }
    WriteSums<W>(in.type, total.data(), begin, end - begin, dbias);
  });
}

template void BiasGradient(const GradientInputs<float>&, void*, const Threads&);
template void BiasGradient(const GradientInputs<double>&, void*, const Threads&);

}  // namespace caffe2op_mask
