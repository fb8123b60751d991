#include <algorithm>
#include <limits>

#include "kernels/attention_bias_gradient.h"
#include "kernels/attention_gradient_entries.h"
#include "kernels/attention_gradient_work.h"
#include "kernels/masked_attention.h"
#include "kernels/online_softmax.h"

namespace caffe2op_mask {
namespace {

// An entry of W for each row, counted over all units: where they lie, or a copy. Null where there
// are none.
template <typename W>
class RowNumbers {
 public:
  RowNumbers(const Attention& attention, const InputRows& from)
      : data_(static_cast<const W*>(from.data)) {
    const RowStrides& at = from.strides;
    const bool in_order = attention.sequences == nullptr && at.row == 1 &&
                          at.head == attention.queries &&
                          at.batch == attention.heads * attention.queries;
    if (data_ == nullptr || in_order) return;
    copy_ = AlignedBuffer<W>(AllRows(attention));
    W* to = copy_.data();
    for (int64_t index = 0; index < Units(attention); ++index) {
      const Unit unit = UnitAt(attention, index);
      for (int64_t row = 0; row < unit.rows(); ++row) *to++ = data_[unit.OfRow(at, row)];
    }
    data_ = copy_.data();
  }

  const W* data() const { return data_; }

 private:
  const W* data_;
  AlignedBuffer<W> copy_;
};

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
  void UnitGradient(const Unit& unit) {
    const Sums dk{
        static_cast<W*>(out_.dk.data) + unit.OfKey(out_.dk.strides, 0), out_.dk.strides.row};
    const Sums dv{
        static_cast<W*>(out_.dv.data) + unit.OfKey(out_.dv.strides, 0), out_.dv.strides.row};
    const int64_t rows = unit.keys() + unit.sequence.unused_keys;
    dk.Clear(rows, in_.depth);
    dv.Clear(rows, in_.value_depth);
    ForEachRowTile(unit, [&] {
      work_.ForEachTile(0, unit.keys(), [&](ProbabilityTile p) {
        const int64_t key = p.tile.first_key;
        work_.AddValueGradient(p, dv.At(key), dv.stride);
        const GradientTile ds = work_.ProductGradients(p);
        work_.AddQueryGradient(ds);
        work_.AddKeyGradient(ds, dk.At(key), dk.stride);
      });
      FinishQueries();
    });
    FinishKeys({unit, 0, rows}, dk, dv);
  }

  // dq of a tile of rows.
  void QueryGradient(const RowTile& tile) {
    work_.SetRows(tile);
    work_.ForEachTile(0, tile.unit.keys(), [&](ProbabilityTile p) {
      work_.AddQueryGradient(work_.ProductGradients(p));
    });
    FinishQueries();
  }

  // dk and dv of a tile of keys.
  void KeyGradient(const RowTile& keys) {
    const int64_t begin = keys.first;
    const AlignedBuffer<W> dk_sums(keys.rows * in_.depth);
    const AlignedBuffer<W> dv_sums(keys.rows * in_.value_depth);
    const Sums dk{dk_sums.data(), in_.depth};
    const Sums dv{dv_sums.data(), in_.value_depth};
    dk.Clear(keys.rows, in_.depth);
    dv.Clear(keys.rows, in_.value_depth);
    ForEachRowTile(keys.unit, [&] {
      work_.ForEachTile(begin, begin + keys.rows, [&](ProbabilityTile p) {
        const int64_t key = p.tile.first_key - begin;
        work_.AddValueGradient(p, dv.At(key), dv.stride);
        work_.AddKeyGradient(work_.ProductGradients(p), dk.At(key), dk.stride);
      });
    });
    FinishKeys(keys, dk, dv);
  }

 private:
  // Rows that gradients of keys are summed up in.
  struct Sums {
    W* data;
    int64_t stride;

    W* At(int64_t row) const { return data + row * stride; }
    void Clear(int64_t rows, int64_t depth) const {
      if (stride == depth) {
        std::fill_n(data, rows * depth, W{0});
      } else {
        for (int64_t row = 0; row < rows; ++row) std::fill_n(At(row), depth, W{0});
      }
    }
  };

  // Turns to each tile of a unit's rows.
  template <class F>
  void ForEachRowTile(const Unit& unit, const F& f) {
    for (int64_t first = 0; first < unit.rows(); first += kTileQueries) {
      work_.SetRows({unit, first, std::min(kTileQueries, unit.rows() - first)});
      f();
    }
  }

  // Writes dq of the rows. A row whose sums met what is not finite, mostly a key that it keeps or
  // that other rows of its tile do, is summed up again from what it keeps alone.
  void FinishQueries() {
    const Unit& unit = work_.unit();
    for (int64_t r = 0; r < work_.rows(); ++r) {
      const int64_t row = work_.first_row() + r;
      W* const dq = work_.dq() + r * in_.depth;
      if (!AllFinite(in_.type, dq, in_.depth)) entries_.SumRow(unit, row, dq);
      Write(dq, in_.depth, out_.dq, unit.OfRow(out_.dq.strides, row));
    }
  }

  // Writes dk and dv of keys from their sums; a key whose sums met a row that is not finite is
  // summed up again as well.
  void FinishKeys(const RowTile& keys, const Sums& dk_sums, const Sums& dv_sums) {
    const Unit& unit = keys.unit;
    const bool uniform = in_.empty_row == EmptyRow::kUniform;
    if (uniform) entries_.SumEmptyRows(unit, from_empty_.data());
    for (int64_t r = 0; r < keys.rows; ++r) {
      const int64_t key = keys.first + r;
      W* const dk = dk_sums.At(r);
      W* const dv = dv_sums.At(r);
      if (!AllFinite(in_.type, dk, in_.depth) || !AllFinite(in_.type, dv, in_.value_depth)) {
        entries_.SumKey(unit, key, dk, dv);
      }
      if (uniform && key < unit.keys()) {
        for (int64_t i = 0; i < in_.value_depth; ++i) dv[i] += from_empty_.data()[i];
      }
      Write(dk, in_.depth, out_.dk, unit.OfKey(out_.dk.strides, key));
      Write(dv, in_.value_depth, out_.dv, unit.OfKey(out_.dv.strides, key));
    }
  }

  // The row of `to` that begins at entry `first`, which may be where the sums are. By its bytes: of
  // 16-bit results an entry of W counted from `to` is another place, where the sums may be by
  // chance.
  void Write(const W* from, int64_t depth, const OutputRows& to, int64_t first) const {
    const void* const at = static_cast<const uint8_t*>(to.data) + first * RealBytes(in_.type);
    if (from != at) WriteRow(in_.type, from, 1, depth, to.data, first);
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
        const W sink = HeadSinks<W>(in).At(head);
        const int64_t group = in.heads / in.kv_heads;
        const bool none = sink == -std::numeric_limits<W>::infinity();
        double sum = 0;
        for (int64_t batch = 0; !none && batch < in.batch; ++batch) {
          const Unit unit = UnitAt(in, batch * in.kv_heads + head / group);
          const int64_t first = head % group * unit.queries();
          for (int64_t query = 0; query < unit.queries(); query += kTileQueries) {
            const RowTile rows{unit, first + query, std::min(kTileQueries, unit.queries() - query)};
            work->SetRows(rows);
            for (int64_t r = 0; r < rows.rows; ++r) {
              sum -= double{inputs.exponents.Probability(rows.first_of_all() + r, sink)} *
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
  const RowNumbers<W> lse(in, outputs.lse);
  const RowNumbers<W> d_lse(in, outputs.d_lse);
  const RowExponents<W> exponents(in, lse.data(), threads);
  const GradientInputs<W> inputs{in, outputs, lse.data(), d_lse.data(), exponents};
  const auto make_work = [&] { return Backward<W>(inputs, out); };
  // A unit by one thread takes five products a tile, since dq, dk and dv come from
  // one computation of the scores. Where threads would be idle, or sums must be
  // kept wider than the results, rows and keys go their own ways, with seven.
  const ScoreCount scores = ScoresOf(in);
  const bool idle = scores.all < scores.most * static_cast<double>(threads.count);
  if (RealBytes(in.type) == static_cast<int64_t>(sizeof(W)) && !idle) {
    ForEachTask(in, Units(in), threads, make_work, [&](Backward<W>* work, int64_t unit) {
      work->UnitGradient(UnitAt(in, unit));
    });
  } else {
    const UnitTiles rows = UnitTiles::OfRows(in);
    ForEachTask(in, rows.count(), threads, make_work, [&](Backward<W>* work, int64_t task) {
      work->QueryGradient(rows.At(task));
    });
    const UnitTiles keys = UnitTiles::OfKeys(in);
    ForEachTask(in, keys.count(), threads, make_work, [&](Backward<W>* work, int64_t task) {
      work->KeyGradient(keys.At(task));
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
