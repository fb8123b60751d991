#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/attention_work.h"
#include "kernels/masked_attention.h"

namespace caffe2op_mask {
namespace {

template <typename T>
struct AttentionGradientOf {
  T* dq;
  T* dk;
  T* dv;
  T* dbias;
  T* dsinks;
};

template <typename T>
struct AttentionOutputsOf {
  const T* o;
  const Wide<T>* lse;
  const T* d_o;
  const Wide<T>* d_lse;
};

// Probabilities of each row are exp(score - base) * factor, where factor is 1 if null.
template <typename W>
struct Exponents {
  const W* base;
  const W* factor;

  W Probability(int64_t row, W score) const {
    const W p = std::exp(score - base[row]);
    return factor == nullptr ? p : p * factor[row];
  }
};

// Whether lse is too large to tell probabilities: beyond this a float has less than 17
// bits behind the point, which would be as many bits of them.
template <typename W>
bool IsCoarse(W lse) {
  return std::abs(lse) > 128 && std::isfinite(lse);
}

// Computes the greatest score and the sum again for rows whose lse is coarse.
template <typename T>
class RowSums : public AttentionWork<T> {
 public:
  using W = Wide<T>;

  explicit RowSums(const AttentionOf<T>& attention)
      : AttentionWork<T>(attention),
        greatest_(std::min(kTileQueries, UnitRows(attention))),
        sum_(std::min(kTileQueries, UnitRows(attention))) {}

  // Rows of a unit; `base` and `factor` are of all rows, and others of them stay.
  void Run(int64_t unit, int64_t first, int64_t rows, const W* lse, W* base, W* factor) {
    const W* const own = lse + unit * UnitRows(this->attention()) + first;
    if (std::none_of(own, own + rows, IsCoarse<W>)) return;
    this->SetRows(unit, first, rows, lse);
    BeginSoftmax(this->attention(), this->first_row(), rows, greatest_.data(), sum_.data());
    this->ForEachTile(0, this->attention().keys, [&] {
      SoftmaxTile(this->Scores(), greatest_.data(), sum_.data(), static_cast<W*>(nullptr), 0);
    });
    for (int64_t r = 0; r < rows; ++r) {
      if (!IsCoarse(own[r]) || sum_.data()[r] == 0) continue;
      base[this->first_row() + r] = greatest_.data()[r];
      factor[this->first_row() + r] = 1 / sum_.data()[r];
    }
  }

 private:
  AlignedBuffer<W> greatest_;
  AlignedBuffer<W> sum_;
};

template <typename T>
class Backward : public AttentionWork<T> {
 public:
  using W = Wide<T>;

  explicit Backward(const AttentionOf<T>& attention)
      : AttentionWork<T>(attention),
        rows_(std::min(kTileQueries, UnitRows(attention))),
        delta_(rows_),
        dp_(rows_ * this->stride()),
        slopes_(attention.softcap == 0 ? 0 : rows_ * this->stride()),
        wide_d_o_(RoomToWiden<T>(rows_ * attention.value_depth)),
        dq_(rows_ * attention.depth) {}

  // Turns to rows of a unit with what came of them.
  void SetRows(
      int64_t unit, int64_t first, int64_t rows, const AttentionOutputsOf<T>& outputs,
      const Exponents<W>& exponents) {
    AttentionWork<T>::SetRows(unit, first, rows, outputs.lse);
    const int64_t depth = this->attention().value_depth;
    const int64_t start = this->first_row() * depth;
    base_ = exponents.base + this->first_row();
    factor_ = exponents.factor == nullptr ? nullptr : exponents.factor + this->first_row();
    // The sum of p dp over a row is that of o do, since o is the sum of p v.
    RowDots(outputs.d_o + start, outputs.o + start, rows, depth, delta_.data());
    // And lse rises with a score by p.
    for (int64_t r = 0; outputs.d_lse != nullptr && r < rows; ++r) {
      delta_.data()[r] -= outputs.d_lse[this->first_row() + r];
    }
    d_o_ = Widened(outputs.d_o + start, rows * depth, wide_d_o_.data());
    std::fill_n(dq_.data(), rows * this->attention().depth, W{0});
  }

  // The gradient of the rows' queries, as far as it was added up.
  W* dq() { return dq_.data(); }

  // Of each row: the gradient of a score is p (dp - delta).
  const W* delta() const { return delta_.data(); }

  // Brings the tile's probabilities into its scores.
  const ScoreTile<T>& Probabilities() {
    const ScoreTile<T>& tile = this->Scores();
    W* const slopes = this->attention().softcap == 0 ? nullptr : slopes_.data();
    ProbabilityTile(tile, base_, factor_, slopes);
    return tile;
  }

  // Adds p^T do to the tile's rows of dv.
  void AddValueGradient(W* dv) {
    const ScoreTile<T>& tile = this->tile();
    const int64_t depth = this->attention().value_depth;
    TileProduct(
        tile.columns, depth, tile.rows, 1, {tile.scores, 1, tile.stride}, d_o_, depth, true, dv,
        depth);
  }

  // ds = p (dp - delta) of the tile: the gradient of its scores with their bias.
  W* ScoreGradients() {
    const ScoreTile<T>& tile = this->tile();
    const int64_t depth = this->attention().value_depth;
    this->Products(1, d_o_, this->v(), depth, dp_.data());
    ScoreGradientTile(tile, delta_.data(), dp_.data());
    return dp_.data();
  }

  // The gradient of q k, from that of the scores.
  const W* ProductGradients() {
    W* const ds = ScoreGradients();
    const ScoreTile<T>& tile = this->tile();
    const AttentionOf<T>& in = this->attention();
    ScaleTile(in.softcap == 0 ? nullptr : slopes_.data(), in.scale, tile.rows * tile.stride, ds);
    return ds;
  }

  // Adds ds k to dq of the rows.
  void AddQueryGradient(const W* ds) {
    const ScoreTile<T>& tile = this->tile();
    const int64_t depth = this->attention().depth;
    TileProduct(
        tile.rows, depth, tile.columns, 1, {ds, tile.stride, 1}, this->SummedK(), depth, true,
        dq_.data(), depth);
  }

  // Adds ds^T q to the tile's rows of dk.
  void AddKeyGradient(const W* ds, W* dk) {
    const ScoreTile<T>& tile = this->tile();
    const int64_t depth = this->attention().depth;
    TileProduct(
        tile.columns, depth, tile.rows, 1, {ds, 1, tile.stride}, this->q(), depth, true, dk, depth);
  }

 private:
  const int64_t rows_;
  AlignedBuffer<W> delta_;
  AlignedBuffer<W> dp_;
  AlignedBuffer<W> slopes_;
  AlignedBuffer<W> wide_d_o_;
  AlignedBuffer<W> dq_;
  const W* base_ = nullptr;
  const W* factor_ = nullptr;
  const W* d_o_ = nullptr;
};

// The gradient of a row's product with a key that it keeps, and the probability.
template <typename T>
struct EntryGradient {
  Wide<T> p;
  Wide<T> ds;
};

template <typename T>
EntryGradient<T> GradientOfEntry(
    const AttentionOf<T>& in, const AttentionOutputsOf<T>& outputs,
    const Exponents<Wide<T>>& exponents, int64_t row, int64_t key) {
  const int64_t depth = in.value_depth;
  const T* const v = in.v + (row / UnitRows(in) * in.keys + key) * depth;
  Wide<T> slope;
  const Wide<T> score = EntryScore(in, row, key, &slope);
  // An empty row has weighed nothing.
  if (outputs.lse[row] == -std::numeric_limits<Wide<T>>::infinity()) return {0, 0};
  const Wide<T> p = exponents.Probability(row, score);
  Wide<T> rise = outputs.d_lse == nullptr ? 0 : outputs.d_lse[row];  // dp - delta
  for (int64_t i = 0; i < depth; ++i) {
    const int64_t at = row * depth + i;
    rise += Entry(outputs.d_o + at) * (Entry(v + i) - Entry(outputs.o + at));
  }
  return {p, p * rise * slope * in.scale};
}

template <typename T>
class Gradients {
 public:
  using W = Wide<T>;

  Gradients(
      const AttentionOf<T>& attention, const AttentionOutputsOf<T>& outputs,
      const AttentionGradientOf<T>& gradient, int64_t threads, ParallelFor parallel_for)
      : in_(attention),
        outputs_(outputs),
        out_(gradient),
        threads_(threads),
        parallel_for_(parallel_for),
        exponents_{outputs.lse, nullptr} {}

  void Run() {
    const int64_t units = Units(in_);
    const int64_t row_tiles = TilesOf(UnitRows(in_), kTileQueries);
    SetExponents(row_tiles);
    const int64_t key_tiles = TilesOf(in_.keys, kTileKeys);
    // A unit by one thread takes five products a tile, since dq, dk and dv come from
    // one computation of the scores. Where threads would be idle, or sums must be
    // kept wider than the results, rows and keys go their own ways, with seven.
    if (std::is_same<T, W>::value && units >= threads_) {
      ForEach(units, [&](Backward<T>* work, int64_t unit) { UnitGradient(work, unit); });
    } else {
      ForEach(units * row_tiles, [&](Backward<T>* work, int64_t task) {
        SetTile(work, task / row_tiles, task % row_tiles);
        QueryGradient(work);
      });
      ForEach(units * key_tiles, [&](Backward<T>* work, int64_t task) {
        KeyGradient(work, task / key_tiles, task % key_tiles * kTileKeys);
      });
    }
    if (out_.dbias != nullptr) BiasGradient();
    if (out_.dsinks != nullptr) SinkGradient();
  }

 private:
  template <class F>
  void ForEach(int64_t tasks, const F& f) const {
    ForEachTask<Backward<T>>(in_, tasks, threads_, parallel_for_, f);
  }

  // Where lse is so large that the logarithm of the sum is lost in it, as in rows whose
  // bias is the lowest number in all of what they keep, the sum is computed again.
  void SetExponents(int64_t row_tiles) {
    const int64_t rows = Units(in_) * UnitRows(in_);
    if (std::none_of(outputs_.lse, outputs_.lse + rows, IsCoarse<W>)) return;
    base_.assign(outputs_.lse, outputs_.lse + rows);
    factor_.assign(base_.size(), W{1});
    const auto run = [&](RowSums<T>* work, int64_t task) {
      const int64_t first = task % row_tiles * kTileQueries;
      work->Run(
          task / row_tiles, first, std::min(kTileQueries, UnitRows(in_) - first), outputs_.lse,
          base_.data(), factor_.data());
    };
    ForEachTask<RowSums<T>>(in_, Units(in_) * row_tiles, threads_, parallel_for_, run);
    exponents_ = {base_.data(), factor_.data()};
  }

  void SetTile(Backward<T>* work, int64_t unit, int64_t tile) const {
    const int64_t first = tile * kTileQueries;
    const int64_t rows = std::min(kTileQueries, UnitRows(in_) - first);
    work->SetRows(unit, first, rows, outputs_, exponents_);
  }

  void UnitGradient(Backward<T>* work, int64_t unit) const {
    if constexpr (std::is_same<T, W>::value) {
      W* const dk = out_.dk + unit * in_.keys * in_.depth;
      W* const dv = out_.dv + unit * in_.keys * in_.value_depth;
      std::fill_n(dk, in_.keys * in_.depth, W{0});
      std::fill_n(dv, in_.keys * in_.value_depth, W{0});
      for (int64_t tile = 0; tile < TilesOf(UnitRows(in_), kTileQueries); ++tile) {
        SetTile(work, unit, tile);
        work->ForEachTile(0, in_.keys, [&] {
          work->Probabilities();
          work->AddValueGradient(dv + work->first_key() * in_.value_depth);
          const W* const ds = work->ProductGradients();
          work->AddQueryGradient(ds);
          work->AddKeyGradient(ds, dk + work->first_key() * in_.depth);
        });
        FinishQueries(work);
      }
      FinishKeys(unit, 0, in_.keys, dk, dv);
    }
  }

  void QueryGradient(Backward<T>* work) const {
    work->ForEachTile(0, in_.keys, [&] {
      work->Probabilities();
      work->AddQueryGradient(work->ProductGradients());
    });
    FinishQueries(work);
  }

  void KeyGradient(Backward<T>* work, int64_t unit, int64_t begin) const {
    const int64_t end = std::min(begin + kTileKeys, in_.keys);
    std::vector<W> dk(static_cast<size_t>((end - begin) * in_.depth));
    std::vector<W> dv(static_cast<size_t>((end - begin) * in_.value_depth));
    for (int64_t tile = 0; tile < TilesOf(UnitRows(in_), kTileQueries); ++tile) {
      SetTile(work, unit, tile);
      work->ForEachTile(begin, end, [&] {
        const int64_t key = work->first_key() - begin;
        work->Probabilities();
        work->AddValueGradient(dv.data() + key * in_.value_depth);
        work->AddKeyGradient(work->ProductGradients(), dk.data() + key * in_.depth);
      });
    }
    FinishKeys(unit, begin, end, dk.data(), dv.data());
  }

  // Writes dq of the rows. A row whose sums met what is not finite, mostly a key that it keeps or
  // that other rows of its tile do, is summed up again from what it keeps alone.
  void FinishQueries(Backward<T>* work) const {
    for (int64_t r = 0; r < work->rows(); ++r) {
      const int64_t row = work->first_row() + r;
      W* const dq = work->dq() + r * in_.depth;
      if (!AllFinite(dq, in_.depth)) {
        const T* const k = in_.k + row / UnitRows(in_) * in_.keys * in_.depth;
        std::fill_n(dq, in_.depth, W{0});
        for (int64_t key = 0; key < in_.keys; ++key) {
          if (IsEmptyRow(row) || !KeepsKey(in_, row, key)) continue;
          const W ds = GradientOfEntry(in_, outputs_, exponents_, row, key).ds;
          for (int64_t i = 0; i < in_.depth; ++i) dq[i] += ds * Entry(k + key * in_.depth + i);
        }
      }
      WriteRow(dq, W{1}, in_.depth, out_.dq + row * in_.depth);
    }
  }

  // Writes dk and dv of keys [begin, end) of a unit, from their sums.
  void FinishKeys(int64_t unit, int64_t begin, int64_t end, W* dk, W* dv) const {
    const std::vector<W> from_empty = GradientOfEmptyRows(unit);
    for (int64_t key = begin; key < end; ++key, dk += in_.depth, dv += in_.value_depth) {
      if (!AllFinite(dk, in_.depth) || !AllFinite(dv, in_.value_depth)) {
        SumEntries(unit, key, dk, dv);
      }
      for (size_t i = 0; i < from_empty.size(); ++i) dv[i] += from_empty[i];
      const int64_t row = unit * in_.keys + key;
      CopyRow(dk, in_.depth, out_.dk + row * in_.depth);
      CopyRow(dv, in_.value_depth, out_.dv + row * in_.value_depth);
    }
  }

  // The sums of one key from the rows that keep it alone, where its sums met a row that is not
  // finite.
  void SumEntries(int64_t unit, int64_t key, W* dk, W* dv) const {
    std::fill_n(dk, in_.depth, W{0});
    std::fill_n(dv, in_.value_depth, W{0});
    const int64_t first = unit * UnitRows(in_);
    for (int64_t row = first; row < first + UnitRows(in_); ++row) {
      if (IsEmptyRow(row) || !KeepsKey(in_, row, key)) continue;
      const EntryGradient<T> entry = GradientOfEntry(in_, outputs_, exponents_, row, key);
      for (int64_t i = 0; i < in_.depth; ++i) {
        dk[i] += entry.ds * Entry(in_.q + row * in_.depth + i);
      }
      for (int64_t i = 0; i < in_.value_depth; ++i) {
        dv[i] += entry.p * Entry(outputs_.d_o + row * in_.value_depth + i);
      }
    }
  }

  bool IsEmptyRow(int64_t row) const {
    return outputs_.lse[row] == -std::numeric_limits<W>::infinity();
  }

  // What empty rows add to each row of dv where they weigh all alike.
  std::vector<W> GradientOfEmptyRows(int64_t unit) const {
    if (in_.empty_row != EmptyRow::kUniform) return {};
    std::vector<W> sum(static_cast<size_t>(in_.value_depth));
    const W weight = 1 / static_cast<W>(in_.keys);
    const int64_t first = unit * UnitRows(in_);
    for (int64_t row = first; row < first + UnitRows(in_); ++row) {
      if (!IsEmptyRow(row)) continue;
      const T* const d_o = outputs_.d_o + row * in_.value_depth;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * Entry(d_o + i);
    }
    return sum;
  }

  // The same row, where sums were taken on the spot.
  static void CopyRow(const W* from, int64_t count, T* to) {
    if (static_cast<const void*>(from) != to) WriteRow(from, W{1}, count, to);
  }

  // Each part of the bias that a tile of scores reads is one task, which goes over all
  // tiles that read it: with two products each, but no sums to share.
  void BiasGradient() const {
    const RowBroadcast& rows = in_.bias_rows;
    const int64_t entries = rows.small_rows() * rows.small_columns();
    if (rows.rows() == 0) {
      // Nobody reads it.
      std::fill_n(out_.dbias, entries, T{});
      return;
    }
    if (entries == 0) return;
    // Whether the bias has entries of its own for each of `size` steps of `step` rows.
    const auto has_own = [&](int64_t size, int64_t step) {
      return size > 1 && rows.Offset(step) != 0;
    };
    const bool by_query = has_own(in_.queries, 1);
    const bool by_key = rows.column_stride() != 0;
    const int64_t dims[] = {
        has_own(in_.batch, in_.heads * in_.queries) ? in_.batch : 1,
        has_own(in_.heads, in_.queries) ? in_.heads : 1, by_query ? in_.queries : 1,
        by_key ? in_.keys : 1};
    const int64_t row_tiles = TilesOf(in_.queries, kTileQueries);
    const int64_t row_parts = by_query ? row_tiles : 1;
    const int64_t key_parts = by_key ? TilesOf(in_.keys, kTileKeys) : 1;
    const int64_t tasks = dims[0] * dims[1] * row_parts * key_parts;
    ForEach(tasks, [&](Backward<T>* work, int64_t task) {
      const int64_t key_part = task % key_parts;
      const int64_t row_part = task / key_parts % row_parts;
      const int64_t head_of_bias = task / (key_parts * row_parts);
      const int64_t first_key = key_part * kTileKeys;
      const int64_t last_key = by_key ? std::min(first_key + kTileKeys, in_.keys) : in_.keys;
      const int64_t first_query = row_part * kTileQueries;
      const int64_t queries = by_query ? std::min(kTileQueries, in_.queries - first_query) : 1;
      const int64_t keys = by_key ? last_key - first_key : 1;
      std::vector<double> sums(static_cast<size_t>(queries * keys));
      for (int64_t head = 0; head < in_.batch * in_.heads; ++head) {
        const int64_t batch = dims[0] == 1 ? 0 : head / in_.heads;
        if (batch * dims[1] + (dims[1] == 1 ? 0 : head % in_.heads) != head_of_bias) continue;
        for (int64_t tile = 0; tile < row_tiles; ++tile) {
          if (by_query && tile != row_part) continue;
          SetTileOfHead(work, head, tile);
          work->ForEachTile(first_key, last_key, [&] {
            work->Probabilities();
            const W* const ds = work->ScoreGradients();
            double* const to = sums.data() + (by_key ? work->first_key() - first_key : 0);
            for (int64_t r = 0; r < work->rows(); ++r) {
              for (int64_t j = 0; j < work->tile().columns; ++j) {
                to[(by_query ? r * keys : 0) + (by_key ? j : 0)] +=
                    double{ds[r * work->stride() + j]};
              }
            }
          });
        }
      }
      const std::vector<W> rounded(sums.begin(), sums.end());
      for (int64_t r = 0; r < queries; ++r) {
        const int64_t row = head_of_bias * dims[2] + first_query + r;
        WriteRow(rounded.data() + r * keys, W{1}, keys, out_.dbias + row * dims[3] + first_key);
      }
    });
  }

  // A sink is a key whose value is 0, kept by all rows of its head, and so is its gradient. One of
  // -inf is none, whatever comes back for the rows.
  void SinkGradient() const {
    ForEach(in_.heads, [&](Backward<T>* work, int64_t head) {
      double sum = 0;
      for (int64_t batch = 0; batch < in_.batch; ++batch) {
        for (int64_t tile = 0; tile < TilesOf(in_.queries, kTileQueries); ++tile) {
          SetTileOfHead(work, batch * in_.heads + head, tile);
          for (int64_t r = 0; r < work->rows(); ++r) {
            const int64_t row = work->first_row() + r;
            const W sink = SinkScore(in_, row);
            if (sink == -std::numeric_limits<W>::infinity()) continue;
            sum -= double{exponents_.Probability(row, sink)} * double{work->delta()[r]};
          }
        }
      }
      const W rounded = static_cast<W>(sum);
      WriteRow(&rounded, W{1}, 1, out_.dsinks + head);
    });
  }

  // A tile of the queries of one head, counted over the batch.
  void SetTileOfHead(Backward<T>* work, int64_t head, int64_t tile) const {
    const int64_t group = in_.heads / in_.kv_heads;
    const int64_t first = tile * kTileQueries;
    work->SetRows(
        head / group, head % group * in_.queries + first,
        std::min(kTileQueries, in_.queries - first), outputs_, exponents_);
  }

  const AttentionOf<T>& in_;
  const AttentionOutputsOf<T>& outputs_;
  const AttentionGradientOf<T>& out_;
  const int64_t threads_;
  const ParallelFor parallel_for_;
  std::vector<W> base_;
  std::vector<W> factor_;
  Exponents<W> exponents_;
};

}  // namespace

void MaskedAttentionGradient(
    const Attention& attention, const AttentionOutputs& outputs, const AttentionGradient& gradient,
    int64_t threads, ParallelFor parallel_for) {
  WithElement(attention.type, [&](auto element) {
    using T = decltype(element);
    using W = Wide<T>;
    const AttentionOf<T> in(attention);
    const AttentionOutputsOf<T> typed{
        static_cast<const T*>(outputs.o), static_cast<const W*>(outputs.lse),
        static_cast<const T*>(outputs.d_o), static_cast<const W*>(outputs.d_lse)};
    const AttentionGradientOf<T> out{
        static_cast<T*>(gradient.dq), static_cast<T*>(gradient.dk), static_cast<T*>(gradient.dv),
        static_cast<T*>(gradient.dbias), static_cast<T*>(gradient.dsinks)};
    Gradients<T>(in, typed, out, threads, parallel_for).Run();
  });
}

}  // namespace caffe2op_mask
