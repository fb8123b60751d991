#include <algorithm>
#include <limits>

#include "kernels/attention_bias_gradient.h"
#include "kernels/attention_gradient_entries.h"
#include "kernels/attention_gradient_work.h"
#include "kernels/masked_attention.h"
#include "kernels/wide_rows.h"

namespace caffe2op_mask {
namespace {

// One thread's part in dq, dk and dv.
template <typename W>
class Backward {
 public:
  Backward(const GradientInputs<W>& inputs, const AttentionGradient& gradient)
      : in_(inputs.attention),
        out_(gradient),
        work_(inputs),
        entries_(inputs),
        from_empty_(inputs.attention.value_depth) {}

  // A unit's dq, dk and dv, with sums in the place of the results, which are of W.
  void UnitGradient(int64_t unit) {
    W* const dk = static_cast<W*>(out_.dk) + unit * in_.keys * in_.depth;
    W* const dv = static_cast<W*>(out_.dv) + unit * in_.keys * in_.value_depth;
    std::fill_n(dk, in_.keys * in_.depth, W{0});
    std::fill_n(dv, in_.keys * in_.value_depth, W{0});
    ForEachRowTile(unit, [&] {
      work_.ForEachTile(0, in_.keys, [&](ProbabilityTile p) {
        const int64_t key = p.tile.first_key;
        work_.AddValueGradient(p, dv + key * in_.value_depth);
        const GradientTile ds = work_.ProductGradients(p);
        work_.AddQueryGradient(ds);
        work_.AddKeyGradient(ds, dk + key * in_.depth);
      });
      FinishQueries();
    });
    FinishKeys(unit, 0, in_.keys, dk, dv);
  }

  // dq of a tile of rows.
  void QueryGradient(const RowTile& tile) {
    work_.SetRows(tile.first, tile.rows);
    work_.ForEachTile(
        0, in_.keys, [&](ProbabilityTile p) { work_.AddQueryGradient(work_.ProductGradients(p)); });
    FinishQueries();
  }

  // dk and dv of a unit's tile of keys.
  void KeyGradient(int64_t unit, int64_t begin) {
    const int64_t end = std::min(begin + kTileKeys, in_.keys);
    AlignedBuffer<W> dk((end - begin) * in_.depth);
    AlignedBuffer<W> dv((end - begin) * in_.value_depth);
    std::fill_n(dk.data(), (end - begin) * in_.depth, W{0});
    std::fill_n(dv.data(), (end - begin) * in_.value_depth, W{0});
    ForEachRowTile(unit, [&] {
      work_.ForEachTile(begin, end, [&](ProbabilityTile p) {
        const int64_t key = p.tile.first_key - begin;
        work_.AddValueGradient(p, dv.data() + key * in_.value_depth);
        work_.AddKeyGradient(work_.ProductGradients(p), dk.data() + key * in_.depth);
      });
    });
    FinishKeys(unit, begin, end, dk.data(), dv.data());
  }

 private:
  // Turns to each tile of a unit's rows.
  template <class F>
  void ForEachRowTile(int64_t unit, const F& f) {
    const int64_t tiles = TilesOf(UnitRows(in_), kTileQueries);
    for (int64_t tile = unit * tiles; tile < (unit + 1) * tiles; ++tile) {
      const RowTile rows = RowTileAt(in_, tile);
      work_.SetRows(rows.first, rows.rows);
      f();
    }
  }

  // Writes dq of the rows. A row whose sums met what is not finite, mostly a key that it keeps or
  // that other rows of its tile do, is summed up again from what it keeps alone.
  void FinishQueries() {
    for (int64_t r = 0; r < work_.rows(); ++r) {
      const int64_t row = work_.first_row() + r;
      W* const dq = work_.dq() + r * in_.depth;
      if (!AllFinite(in_.type, dq, in_.depth)) entries_.SumRow(row, dq);
      WriteRow(in_.type, dq, 1, in_.depth, out_.dq, row * in_.depth);
    }
  }

  // Writes dk and dv of keys [begin, end) of a unit, from their sums; a key whose sums met a row
  // that is not finite is summed up again as well.
  void FinishKeys(int64_t unit, int64_t begin, int64_t end, W* dk, W* dv) {
    const bool uniform = in_.empty_row == EmptyRow::kUniform;
    if (uniform) entries_.SumEmptyRows(unit, from_empty_.data());
    for (int64_t key = begin; key < end; ++key, dk += in_.depth, dv += in_.value_depth) {
      const int64_t row = unit * in_.keys + key;
      if (!AllFinite(in_.type, dk, in_.depth) || !AllFinite(in_.type, dv, in_.value_depth)) {
        entries_.SumKey(row, dk, dv);
      }
      for (int64_t i = 0; uniform && i < in_.value_depth; ++i) dv[i] += from_empty_.data()[i];
      CopyRow(dk, in_.depth, row, out_.dk);
      CopyRow(dv, in_.value_depth, row, out_.dv);
    }
  }

  // Row `row` of `to`, which may be where the sums are.
  void CopyRow(const W* from, int64_t depth, int64_t row, void* to) const {
    if (from != static_cast<W*>(to) + row * depth) {
      WriteRow(in_.type, from, 1, depth, to, row * depth);
    }
  }

  const Attention& in_;
  const AttentionGradient& out_;
  AttentionGradientWork<W> work_;
  AttentionGradientEntries<W> entries_;
  AlignedBuffer<W> from_empty_;
};

// A sink is a key whose value is 0, kept by all rows of its head, and so is its gradient. One of
// -inf is none, whatever comes back for the rows.
template <typename W>
void SinkGradient(const GradientInputs<W>& inputs, void* dsinks, const Threads& threads) {
  const Attention& in = inputs.attention;
  ForEachTask(
      in, in.heads, threads, [&] { return AttentionGradientWork<W>(inputs); },
      [&](AttentionGradientWork<W>* work, int64_t head) {
        const W sink = *WideRows<W>(in.type, in.sinks, 1).At(head);
        const bool none = sink == -std::numeric_limits<W>::infinity();
        double sum = 0;
        for (int64_t batch = 0; !none && batch < in.batch; ++batch) {
          const int64_t first = (batch * in.heads + head) * in.queries;
          for (int64_t query = 0; query < in.queries; query += kTileQueries) {
            const int64_t rows = std::min(kTileQueries, in.queries - query);
            work->SetRows(first + query, rows);
            for (int64_t r = 0; r < rows; ++r) {
              sum -= double{inputs.exponents.Probability(first + query + r, sink)} *
                     double{work->delta()[r]};
            }
          }
        }
        const W rounded = static_cast<W>(sum);
        WriteRow(in.type, &rounded, 1, 1, dsinks, head);
      });
}

template <typename W>
void Run(
    const Attention& in, const AttentionOutputs& outputs, const AttentionGradient& out,
    const Threads& threads) {
  const RowExponents<W> exponents(in, static_cast<const W*>(outputs.lse), threads);
  const GradientInputs<W> inputs{in, outputs, exponents};
  const auto make_work = [&] { return Backward<W>(inputs, out); };
  // A unit by one thread takes five products a tile, since dq, dk and dv come from
  // one computation of the scores. Where threads would be idle, or sums must be
  // kept wider than the results, rows and keys go their own ways, with seven.
  if (RealBytes(in.type) == static_cast<int64_t>(sizeof(W)) && Units(in) >= threads.count) {
    ForEachTask(in, Units(in), threads, make_work, [](Backward<W>* work, int64_t unit) {
      work->UnitGradient(unit);
    });
  } else {
    ForEachTask(in, RowTiles(in), threads, make_work, [&](Backward<W>* work, int64_t task) {
      work->QueryGradient(RowTileAt(in, task));
    });
    const int64_t tiles = TilesOf(in.keys, kTileKeys);
    ForEachTask(in, Units(in) * tiles, threads, make_work, [&](Backward<W>* work, int64_t task) {
      work->KeyGradient(task / tiles, task % tiles * kTileKeys);
    });
  }
  if (out.dbias != nullptr) BiasGradient(inputs, out.dbias, threads);
  if (out.dsinks != nullptr) SinkGradient(inputs, out.dsinks, threads);
}

}  // namespace

void MaskedAttentionGradient(
    const Attention& attention, const AttentionOutputs& outputs, const AttentionGradient& gradient,
    int64_t threads, ParallelFor parallel_for) {
  WithWide(attention.type, [&](auto wide) {
    Run<decltype(wide)>(attention, outputs, gradient, {threads, parallel_for});
  });
}

}  // namespace caffe2op_mask
