#include "kernels/masked_softmax.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/aligned_buffer.h"
#include "kernels/fill.h"
#include "kernels/softmax_steps.h"

namespace caffe2op_mask {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A row is worked on in pieces of its kept entries, so that what sums lose has a bound,
// and threads can share it. Its length alone says where it is cut.
constexpr int64_t kPieceEntries = 4096;
constexpr int64_t kGrainPieces = 4;  // that are worth a thread

// At least one.
int64_t NumPieces(int64_t entries) {
  return entries <= kPieceEntries ? 1 : (entries + kPieceEntries - 1) / kPieceEntries;
}

// Calls f(piece, begin, end) for each piece of `entries`.
template <class F>
void ForEachPiece(int64_t entries, Stores stores, ParallelFor parallel_for, const F& f) {
  if (entries <= kPieceEntries) return f(0, 0, entries);
  // What others may run is a copy, so that short rows keep what f captures in registers.
  const F shared = f;
  parallel_for(0, NumPieces(entries), kGrainPieces, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t begin = piece * kPieceEntries;
      shared(piece, begin, std::min(begin + kPieceEntries, entries));
    }
    FinishStores(stores);
  });
}

// Sum of what pieces give, which loses a rounding of it however many they are.
double SumOfPieces(const double* pieces, int64_t count) {
  double sum = pieces[0];
  double lost = 0;
  for (int64_t i = 1; i < count; ++i) {
    const double next = sum + pieces[i];
    lost +=
        std::fabs(sum) >= std::fabs(pieces[i]) ? sum - next + pieces[i] : pieces[i] - next + sum;
    sum = next;
  }
  // Beside what is infinite, what it lost is NaN.
  return count == 1 || !std::isfinite(sum) ? sum : sum + lost;
}

// The kept part of a row: an interval, and a mask of its entries or null.
struct KeptRow {
  Interval columns;
  const bool* mask;

  int64_t entries() const { return columns.end - columns.begin; }
  const bool* MaskAt(int64_t entry) const { return mask == nullptr ? nullptr : mask + entry; }
};

inline KeptRow KeptOf(const ScoreMask& mask, int64_t row, int64_t columns) {
  KeptRow kept{mask.shape(row, columns), nullptr};
  if (mask.mask == nullptr || kept.entries() == 0) return kept;
  const bool* const of_row = mask.mask + mask.mask_rows.Offset(row);
  if (mask.mask_rows.column_stride() == 1) {
    kept.mask = of_row + kept.columns.begin;
  } else if (*reinterpret_cast<const uint8_t*>(of_row) == 0) {
    kept.columns.end = kept.columns.begin;
  }
  return kept;
}

// from[0, count) as elements.
template <typename T>
void Narrow(const Wide<T>* from, int64_t count, T* to) {
  if constexpr (std::is_same<T, Wide<T>>::value) {
    std::copy_n(from, count, to);
  } else {
    FromFloat(from, count, to);
  }
}

// The pattern that fills with a number.
template <typename T>
uint64_t PatternOf(Wide<T> number) {
  T element;
  Narrow(&number, 1, &element);
  return FillPattern(element);
}

uint64_t PatternOf(Real type, double number) {
  return WithElement(type, [&](auto element) {
    using T = decltype(element);
    return PatternOf<T>(static_cast<Wide<T>>(number));
  });
}

// That of an empty row.
uint64_t EmptyPattern(const Scores& scores, EmptyRow empty_row, SoftmaxForm form) {
  return WithElement(scores.type, [&](auto element) {
    using T = decltype(element);
    using W = Wide<T>;
    const W entry = empty_row == EmptyRow::kZero  ? 0
                    : empty_row == EmptyRow::kNaN ? std::numeric_limits<W>::quiet_NaN()
                                                  : 1 / static_cast<W>(scores.columns);
    return PatternOf<T>(form == SoftmaxForm::kLog ? std::log(entry) : entry);
  });
}

// out[first, first + count) = sums[0, count) as elements.
void WriteSums(Real type, const double* sums, int64_t count, int64_t first, void* out) {
  WithElement(type, [&](auto element) {
    using T = decltype(element);
    constexpr int64_t kAtOnce = 512;
    Wide<T> wide[kAtOnce];
    for (int64_t i = 0; i < count; i += kAtOnce) {
      const int64_t some = std::min(kAtOnce, count - i);
      for (int64_t j = 0; j < some; ++j) wide[j] = static_cast<Wide<T>>(sums[i + j]);
      Narrow(wide, some, static_cast<T*>(out) + first + i);
    }
  });
}

// What rows of a softmax become.
struct RowsOut {
  SoftmaxForm form;
  uint64_t empty;   // fill patterns of an empty row
  uint64_t masked;  // and of what is masked
  void* y;
  void* lse;
};

// One thread's rows, and where it puts one together.
class RowWork {
 public:
  RowWork(const Scores& scores, const ScoreMask& mask, Stores stores, ParallelFor pieces)
      : scores_(scores),
        mask_(mask),
        steps_(SoftmaxStepsOf(scores.type)),
        stores_(stores),
        for_pieces_(pieces),
        width_(RealBytes(scores.type)),
        wide_(scores.type == Real::kFloat64 ? sizeof(double) : sizeof(float)) {
    constexpr int64_t kLongestVector = 64;
    const int64_t packed = (scores.columns * wide_ / kLongestVector + 2) * kLongestVector;
    const int64_t sums = 2 * NumPieces(scores.columns) * static_cast<int64_t>(sizeof(double));
    memory_ = AlignedBuffer<uint8_t>(packed + sums);
    sums_ = reinterpret_cast<double*>(memory_.data() + packed);
  }

  // A row of the softmax.
  void Softmax(const RowsOut& rows_out, int64_t row) const {
    const KeptRow kept = KeptOf(mask_, row, scores_.columns);
    PrefetchKept(scores_.x, row + 1, kept.columns);
    uint8_t* const out = Row(rows_out.y, row);
    const double greatest = PackScores(row, kept);
    if (greatest == -kInfinity) {
      ForEachPiece(scores_.columns, stores_, for_pieces_, [=](int64_t, int64_t begin, int64_t end) {
        FillSpan(rows_out.empty, (end - begin) * width_, out + begin * width_, stores_);
      });
      if (rows_out.lse != nullptr) SetLse(-kInfinity, row, rows_out.lse);
      return;
    }
    const bool log = rows_out.form == SoftmaxForm::kLog;
    const double max = std::isnan(greatest) ? -kInfinity : greatest;
    const int64_t pieces = NumPieces(kept.entries());
    const auto exponentials = [=](int64_t piece, int64_t begin, int64_t end) {
      sums_[piece] = steps_.exp_and_sum(Packed(begin), end - begin, max, pieces == 1, log);
    };
    ForEachPiece(kept.entries(), Stores::kCached, for_pieces_, exponentials);
    const double sum = SumOfPieces(sums_, pieces);
    const double log_sum = log || rows_out.lse != nullptr ? std::log(sum) : 0;
    if (rows_out.lse != nullptr) SetLse(max + log_sum, row, rows_out.lse);
    if (std::isnan(sum)) {
      WriteNaN(kept, sum, rows_out.masked, out);
    } else if (log) {
      WriteRow(kept.columns, rows_out.masked, out, [=](int64_t i, int64_t count, void* to) {
        steps_.write_logs(Packed(i), count, max, log_sum, to);
      });
    } else {
      WriteRow(kept.columns, rows_out.masked, out, [=](int64_t i, int64_t count, void* to) {
        steps_.write_quotients(Packed(i), count, sum, to);
      });
    }
  }

  // A row of the gradient; adds ds to `sums`, of one entry a column or of one in
  // all, unless they are null. The sum of y dy is off by at most 2^-23 of the sum of
  // |y dy| in rows of more than one piece, and by 2^-13 in those of one, where floats
  // are summed as they are; in double by 2^-41.
  void Gradient(const SoftmaxOutputs& outputs, int64_t row, void* dx, double* sums) const {
    const SoftmaxSteps::OfForm& steps =
        outputs.form == SoftmaxForm::kLog ? steps_.log : steps_.plain;
    const KeptRow kept = KeptOf(mask_, row, scores_.columns);
    const int64_t entries = kept.entries();
    const int64_t pieces = NumPieces(entries);
    PrefetchKept(outputs.y, row + 1, kept.columns);
    PrefetchKept(outputs.d_y, row + 1, kept.columns);
    bool empty = scores_.x != nullptr && PackScores(row, kept) == -kInfinity;
    const uint8_t* const y = Row(outputs.y, row) + kept.columns.begin * width_;
    const uint8_t* const dy = Row(outputs.d_y, row) + kept.columns.begin * width_;
    double* const dots = sums_;
    double* const totals = sums_ + pieces;
    ForEachPiece(
        entries, Stores::kCached, for_pieces_, [=](int64_t piece, int64_t begin, int64_t end) {
          const PieceSums of_piece = steps.pack_probabilities(
              y + begin * width_, dy + begin * width_, kept.MaskAt(begin), end - begin, pieces == 1,
              Packed(begin));
          dots[piece] = of_piece.dot;
          totals[piece] = of_piece.total;
        });
    // Without its scores an empty row is told by its probabilities, which are all 0.
    // None is below it, so that no sum of others is, however many they are.
    if (scores_.x == nullptr) empty = SumOfPieces(totals, pieces) == 0;
    const double dot = LessDLse(SumOfPieces(dots, pieces), outputs.d_lse, row);
    const int64_t stride = scores_.bias_rows.column_stride();
    ForEachPiece(
        entries, Stores::kCached, for_pieces_, [=](int64_t piece, int64_t begin, int64_t end) {
          steps.pack_differences(
              dy + begin * width_, kept.MaskAt(begin), end - begin, dot, empty, Packed(begin));
          if (sums == nullptr) return;
          double* to = sums + kept.columns.begin + begin;
          if (stride == 0) {
            to = totals + piece;
            *to = pieces == 1 ? sums[0] : 0;
          }
          steps_.add_to(Packed(begin), end - begin, stride, to);
        });
    if (sums != nullptr && stride == 0) {
      sums[0] = pieces == 1 ? totals[0] : sums[0] + SumOfPieces(totals, pieces);
    }
    WriteRow(kept.columns, 0, Row(dx, row), [=](int64_t i, int64_t count, void* to) {
      steps_.write_products(Packed(i), count, scores_.scale, to);
    });
  }

 private:
  uint8_t* Row(void* tensor, int64_t row) const {
    return static_cast<uint8_t*>(tensor) + row * scores_.columns * width_;
  }
  const uint8_t* Row(const void* tensor, int64_t row) const {
    return static_cast<const uint8_t*>(tensor) + row * scores_.columns * width_;
  }

  void* Packed(int64_t entry) const { return memory_.data() + entry * wide_; }

  // A difference of Wide<T>.
  double LessDLse(double dot, const void* d_lse, int64_t row) const {
    if (d_lse == nullptr) return dot;
    if (scores_.type == Real::kFloat64) return dot - static_cast<const double*>(d_lse)[row];
    return double{static_cast<float>(dot) - static_cast<const float*>(d_lse)[row]};
  }

  void SetLse(double value, int64_t row, void* lse) const {
    if (scores_.type == Real::kFloat64) {
      static_cast<double*>(lse)[row] = value;
    } else {
      static_cast<float*>(lse)[row] = static_cast<float>(value);
    }
  }

  // Asks for what the next row is likely to keep, which is what this one keeps: what
  // rows leave out breaks the stream that the machine would have followed by itself.
  // Inline: GCC drops calls of a function that does no more than prefetch.
  [[gnu::always_inline]] void PrefetchKept(
      const void* tensor, int64_t next_row, const Interval& kept) const {
    if (next_row == scores_.rows) return;
    constexpr int64_t kLine = 64;
    constexpr int64_t kMost = 4096;
    const uint8_t* const next = Row(tensor, next_row);
    const int64_t begin = kept.begin * width_;
    const int64_t end = std::min(kept.end * width_, begin + kMost);
    for (int64_t i = begin; i < end; i += kLine) __builtin_prefetch(next + i);
  }

  // Packs the scores of a row; returns what the step does of a piece.
  double PackScores(int64_t row, const KeptRow& kept) const {
    ForEachPiece(
        kept.entries(), Stores::kCached, for_pieces_,
        [=](int64_t piece, int64_t begin, int64_t end) {
          sums_[piece] = steps_.pack_scores(
              scores_, row, kept.columns.begin + begin, end - begin, kept.MaskAt(begin),
              Packed(begin));
        });
    double greatest = -kInfinity;
    bool nan = false;
    for (int64_t i = 0; i < NumPieces(kept.entries()); ++i) {
      nan = nan || std::isnan(sums_[i]);
      if (sums_[i] > greatest) greatest = sums_[i];
    }
    return nan && greatest == -kInfinity ? std::numeric_limits<double>::quiet_NaN() : greatest;
  }

  // Writes columns [begin, end) to `out`: the fill pattern `masked`, but for what
  // write(i, count, to) makes of kept entries [i, i + count).
  template <class Write>
  void WriteColumns(
      const Interval& kept, int64_t begin, int64_t end, uint64_t masked, uint8_t* out,
      const Write& write) const {
    const int64_t first = std::clamp(kept.begin, begin, end);
    const int64_t last = std::clamp(kept.end, first, end);
    if (begin < first) steps_.fill(masked, (first - begin) * width_, out);
    if (first < last) write(first - kept.begin, last - first, out + (first - begin) * width_);
    if (last < end) steps_.fill(masked, (end - last) * width_, out + (last - begin) * width_);
  }

  // What is streamed is put together beforehand, since pieces of a line cannot be streamed.
  template <class Write>
  [[gnu::noinline]] void StreamColumns(
      const Interval& kept, int64_t begin, int64_t end, uint64_t masked, uint8_t* out,
      const Write& write) const {
    alignas(64) uint8_t together[kPieceEntries * sizeof(double)];
    WriteColumns(kept, begin, end, masked, together, write);
    CopySpan(together, (end - begin) * width_, out, stores_);
  }

  template <class Write>
  void WriteRow(const Interval& kept, uint64_t masked, uint8_t* row, const Write& write) const {
    ForEachPiece(scores_.columns, stores_, for_pieces_, [=](int64_t, int64_t begin, int64_t end) {
      uint8_t* const out = row + begin * width_;
      if (stores_ == Stores::kStreamed) {
        StreamColumns(kept, begin, end, masked, out, write);
      } else {
        WriteColumns(kept, begin, end, masked, out, write);
      }
    });
  }

  // All that a row keeps is NaN; what is masked among it must not be.
  void WriteNaN(const KeptRow& kept, double nan, uint64_t masked, uint8_t* row) const {
    const uint64_t element = PatternOf(scores_.type, nan);
    FillSpan(masked, scores_.columns * width_, row);
    for (int64_t i = 0; i < kept.entries(); ++i) {
      if (kept.mask != nullptr && reinterpret_cast<const uint8_t*>(kept.mask)[i] == 0) continue;
      std::memcpy(row + (kept.columns.begin + i) * width_, &element, static_cast<size_t>(width_));
    }
  }

  const Scores& scores_;
  const ScoreMask& mask_;
  const SoftmaxSteps& steps_;
  const Stores stores_;
  const ParallelFor for_pieces_;
  const int64_t width_;
  const int64_t wide_;  // width of what a row is computed in
  AlignedBuffer<uint8_t> memory_;
  double* sums_;  // two for each piece
};

// Rows that are worth a thread: an exponential costs as much as to move some bytes.
int64_t RowGrain(int64_t columns) {
  constexpr int64_t kCostOfEntry = 16;
  return GrainFor(columns * kCostOfEntry);
}

// Who runs rows, and who the pieces of one. Long rows that are fewer than their pieces
// are cut, so that threads share each; others are handed out whole. Both ways give the
// same bits.
struct Sharing {
  ParallelFor rows;
  ParallelFor pieces;
};

Sharing SharingOf(int64_t rows, int64_t columns, ParallelFor parallel_for) {
  constexpr int64_t kLongRow = 4 * kGrainPieces * kPieceEntries;
  const bool cut = columns >= kLongRow && rows < NumPieces(columns);
  return cut ? Sharing{SerialFor, parallel_for} : Sharing{parallel_for, SerialFor};
}

Stores StoresOf(const Scores& scores) {
  return StoresFor(scores.rows * scores.columns * RealBytes(scores.type));
}

}  // namespace

void MaskedSoftmax(
    const Scores& scores, const ScoreMask& mask, EmptyRow empty_row, SoftmaxForm form, void* y,
    void* lse, ParallelFor parallel_for) {
  const int64_t columns = scores.columns;
  if (columns == 0 && lse != nullptr) {
    WithElement(scores.type, [&](auto element) {
      using W = Wide<decltype(element)>;
      std::fill_n(static_cast<W*>(lse), scores.rows, -std::numeric_limits<W>::infinity());
    });
  }
  if (scores.rows == 0 || columns == 0) return;
  const Stores stores = StoresOf(scores);
  const double masked = form == SoftmaxForm::kLog ? -kInfinity : 0;
  const RowsOut out{
      form, EmptyPattern(scores, empty_row, form), PatternOf(scores.type, masked), y, lse};
  const Sharing sharing = SharingOf(scores.rows, columns, parallel_for);
  sharing.rows(0, scores.rows, RowGrain(columns), [&](int64_t first, int64_t last) {
    const RowWork work(scores, mask, stores, sharing.pieces);
    for (int64_t row = first; row < last; ++row) work.Softmax(out, row);
    FinishStores(stores);
  });
}

void MaskedSoftmaxGradient(
    const Scores& scores, const ScoreMask& mask, const SoftmaxOutputs& outputs, void* dx,
    void* dbias, ParallelFor parallel_for) {
  const int64_t columns = scores.columns;
  const RowBroadcast& bias = scores.bias_rows;
  const int64_t entries = bias.small_columns();
  if (scores.rows == 0 || columns == 0) {
    // Rows without columns may be more than can be gone through.
    const auto bytes = static_cast<size_t>(bias.small_rows() * entries * RealBytes(scores.type));
    if (dbias != nullptr) std::memset(dbias, 0, bytes);
    return;
  }
  const Stores stores = StoresOf(scores);
  const Sharing sharing = SharingOf(scores.rows, columns, parallel_for);
  if (dbias == nullptr) {
    sharing.rows(0, scores.rows, RowGrain(columns), [&](int64_t first, int64_t last) {
      const RowWork work(scores, mask, stores, sharing.pieces);
      for (int64_t row = first; row < last; ++row) work.Gradient(outputs, row, dx, nullptr);
      FinishStores(stores);
    });
    return;
  }
  // Rows in the order of the bias that they read, so that each of its rows is summed
  // by one thread. Where they are few, each is summed in parts, by a count of its own
  // and not of the threads: sums must not depend on those. Units of BroadcastSum are columns of
  // rows, and a row must be computed at once.
  constexpr int64_t kLeastUnits = 16;
  const int64_t parts = std::clamp<int64_t>(
      kLeastUnits / std::max<int64_t>(bias.small_rows(), 1), 1,
      std::max<int64_t>(bias.repeats(), 1));
  const int64_t repeats = (bias.repeats() + parts - 1) / parts;  // of a part, at most
  const int64_t units = bias.small_rows() * parts;
  const AlignedBuffer<double> part_sums(parts > 1 ? units * entries : 0);
  sharing.rows(
      0, units, RowGrain(columns * std::max<int64_t>(repeats, 1)),
      [&](int64_t first, int64_t last) {
        const RowWork work(scores, mask, stores, sharing.pieces);
        const AlignedBuffer<double> row_sums(parts > 1 ? 0 : entries);
        for (int64_t unit = first; unit < last; ++unit) {
          double* const sums = parts > 1 ? part_sums.data() + unit * entries : row_sums.data();
          std::fill(sums, sums + entries, 0.0);
          const int64_t small_row = unit / parts;
          const int64_t begin = unit % parts * repeats;
          for (int64_t k = begin; k < std::min(begin + repeats, bias.repeats()); ++k) {
            work.Gradient(outputs, bias.Row(small_row, k), dx, sums);
          }
          if (parts == 1) WriteSums(scores.type, sums, entries, small_row * entries, dbias);
        }
        FinishStores(stores);
      });
  if (parts == 1) return;
  parallel_for(0, entries, GrainFor(units * 8), [&](int64_t first, int64_t last) {
    for (int64_t small_row = 0; small_row < bias.small_rows(); ++small_row) {
      double* const sums = part_sums.data() + small_row * parts * entries;
      for (int64_t part = 1; part < parts; ++part) {
        for (int64_t i = first; i < last; ++i) sums[i] += sums[part * entries + i];
      }
      WriteSums(scores.type, sums + first, last - first, small_row * entries + first, dbias);
    }
  });
}

}  // namespace caffe2op_mask
