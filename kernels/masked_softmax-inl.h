// Per-target code of kernels/masked_softmax.h; see kernels/masked_softmax.cc.

#if defined(CAFFE2OP_MASK_KERNELS_MASKED_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_MASKED_SOFTMAX_INL_H_
#undef CAFFE2OP_MASK_KERNELS_MASKED_SOFTMAX_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_MASKED_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/exp-inl.h"
#include "kernels/fill-inl.h"
#include "kernels/masked_softmax.h"
#include "kernels/real-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// `v` where the next lanes are kept and exist, `other` elsewhere.
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V Keep(D d, V v, V other, const bool* mask, int64_t count) {
  if (mask != nullptr) return hn::IfThenElse(LoadKept(d, mask, count), v, other);
  if (count == LanesOf(d)) return v;
  return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)), v, other);
}

// The kept part of a row: an interval, and a mask of its entries or null.
struct KeptRow {
  Interval columns;
  const bool* mask;

  int64_t entries() const { return columns.end - columns.begin; }

  // Entries [begin, end) of it.
  KeptRow Part(int64_t begin, int64_t end) const {
    return {{columns.begin + begin, columns.begin + end}, mask == nullptr ? nullptr : mask + begin};
  }
};

HWY_INLINE KeptRow KeptOf(const ScoreMask& mask, int64_t row, int64_t columns) {
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

// Asks for what the next row is likely to keep, which is what this one keeps: what
// rows leave out breaks the stream that the machine would have followed by itself.
template <typename T>
HWY_INLINE void PrefetchKept(const T* next_row, const Interval& kept) {
  constexpr int64_t kLine = 64 / sizeof(T);
  constexpr int64_t kMost = 4096 / sizeof(T);
  const int64_t end = std::min(kept.end, kept.begin + kMost);
  for (int64_t i = kept.begin; i < end; i += kLine) __builtin_prefetch(next_row + i);
}

// Packs the scores of a row's kept interval to `packed`, -inf where the mask is
// False and behind the end up to whole vectors. Returns the greatest of them that
// is a number.
template <class D, typename T, typename W = Wide<T>>
HWY_INLINE W
PackScores(D d, const Scores<T>& scores, int64_t row, const KeptRow& kept, W* HWY_RESTRICT packed) {
  const auto masked = hn::Set(d, -std::numeric_limits<W>::infinity());
  const auto scale = hn::Set(d, scores.scale);
  const T* const x = scores.x + row * scores.columns + kept.columns.begin;
  const T* bias = nullptr;
  auto bias_of_row = hn::Zero(d);
  if (scores.bias != nullptr) {
    bias = scores.bias + scores.bias_rows.Offset(row);
    if (scores.bias_rows.column_stride() == 1) {
      bias += kept.columns.begin;
    } else {
      bias_of_row = hn::Set(d, hn::GetLane(LoadPart(d, bias, 1)));
      bias = nullptr;
    }
  }
  const bool as_is = scores.bias == nullptr && scores.scale == 1;
  auto max = masked;
  for (int64_t i = 0; i < kept.entries(); i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), kept.entries() - i);
    auto score = LoadSome(d, x + i, count);
    if (!as_is) {
      if (bias != nullptr) bias_of_row = LoadSome(d, bias + i, count);
      score = hn::MulAdd(score, scale, bias_of_row);
    }
    const bool* const mask = kept.mask == nullptr ? nullptr : kept.mask + i;
    score = Keep(d, score, masked, mask, count);
    hn::Store(score, d, packed + i);
    // In this order x86 takes the second where the first is NaN.
    max = hn::Max(score, max);
  }
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

// True where a row is empty: the greatest of its scores that is a number is -inf,
// and none is NaN.
template <class D, typename W>
HWY_INLINE bool IsEmpty(D d, const W* HWY_RESTRICT packed, int64_t entries, W max) {
  if (max != -std::numeric_limits<W>::infinity()) return false;
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    if (!hn::AllFalse(d, hn::IsNaN(hn::Load(d, packed + i)))) return false;
  }
  return true;
}

// Calls f(piece, begin, end) for each piece of `entries`. Where none of a tensor's rows has
// more than one, kCut is false: what f captures then stays in registers.
template <bool kCut, class F>
HWY_INLINE void ForEachPiece(int64_t entries, Stores stores, ParallelFor parallel_for, const F& f) {
  if constexpr (!kCut) {
    f(int64_t{0}, int64_t{0}, entries);
  } else {
    parallel_for(0, NumPieces(entries), kGrainPieces, [&](int64_t first, int64_t last) HWY_ATTR {
      for (int64_t piece = first; piece < last; ++piece) {
        const int64_t begin = piece * kPieceEntries;
        f(piece, begin, std::min(begin + kPieceEntries, entries));
      }
      FinishStores(stores);
    });
  }
}

// Sum of what pieces give, which loses a rounding of it however many they are.
HWY_INLINE double SumOfPieces(const double* HWY_RESTRICT pieces, int64_t count) {
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

// Sums vectors of float in double.
class WideSum {
  using D = hn::ScalableTag<float>;
  using DD = hn::ScalableTag<double>;

 public:
  HWY_INLINE WideSum() : low_(hn::Zero(DD())), high_(hn::Zero(DD())) {}

  HWY_INLINE void Add(hn::VFromD<D> v) {
    const DD dd;
#if HWY_TARGET == HWY_SCALAR
    low_ = hn::Add(low_, hn::PromoteTo(dd, v));
#else
    const hn::Half<D> half;
    low_ = hn::Add(low_, hn::PromoteTo(dd, hn::LowerHalf(half, v)));
    high_ = hn::Add(high_, hn::PromoteTo(dd, hn::UpperHalf(half, v)));
#endif
  }

  HWY_INLINE double Total() const {
    return hn::GetLane(hn::SumOfLanes(DD(), hn::Add(low_, high_)));
  }

 private:
  hn::VFromD<DD> low_;
  hn::VFromD<DD> high_;
};

// Calls add(exp(score - max)) for each vector of packed scores, without the rounding error
// of the difference. They replace the scores, unless those are kept.
template <bool kKeepScores, class D, typename W, class Add>
HWY_INLINE void ExpEach(D d, W* HWY_RESTRICT packed, int64_t entries, W max, const Add& add) {
  const auto greatest = hn::Set(d, max);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const auto score = hn::Load(d, packed + i);
    const auto x = hn::Sub(score, greatest);
    const auto subtracted = hn::Sub(x, score);
    const auto low = hn::Sub(hn::Sub(score, hn::Sub(x, subtracted)), hn::Add(greatest, subtracted));
    const auto e = ExpOf<true>(d, x, low);
    if constexpr (!kKeepScores) hn::Store(e, d, packed + i);
    add(e);
  }
}

// Sum of exp(score - max) over a piece of a row, `alone` where it is all of it. They replace
// its packed scores, unless those are kept.
//
// A row's sum is at least 1. A piece alone sums each lane with what its additions lost:
// with N entries a lane and a rounding of u, that is at most N u of the lane, and to
// sum it up loses N^2 u^2 / 2 of the lane; with the 1s, 2^-26 of the row in 4 lanes of
// float. Those 1s are as many as pieces: so floats of other pieces are summed in double,
// where 2^-43 is lost. In double they stay: of a row of 2^40 entries 2^-56 is lost.
template <bool kKeepScores, class D, class W>
HWY_INLINE double ExpAndSum(D d, W* HWY_RESTRICT packed, int64_t entries, W max, bool alone) {
  if constexpr (sizeof(W) == sizeof(float)) {
    if (!alone) {
      WideSum sum;
      ExpEach<kKeepScores>(d, packed, entries, max, [&](hn::VFromD<D> e) HWY_ATTR { sum.Add(e); });
      return sum.Total();
    }
  }
  // From 1, which no exponential is above, a sum tells in two steps what it lost.
  const auto one = hn::Set(d, W{1});
  auto sum = one;
  auto lost = hn::Zero(d);
  ExpEach<kKeepScores>(d, packed, entries, max, [&](hn::VFromD<D> e) HWY_ATTR {
    const auto next = hn::Add(sum, e);
    lost = hn::Add(lost, hn::Sub(e, hn::Sub(next, sum)));
    sum = next;
  });
  HWY_ALIGN W sums[hn::MaxLanes(D())];
  HWY_ALIGN W rests[hn::MaxLanes(D())];
  hn::Store(hn::Sub(sum, one), d, sums);
  hn::Store(lost, d, rests);
  double total = 0;
  for (int64_t i = 0; i < LanesOf(d); ++i) total += double{sums[i]} + double{rests[i]};
  return total;
}

// Writes columns [begin, end), no more than a piece, of a row: the fill pattern `masked`, but
// for what write(first, last, to) makes of the columns kept there. What is streamed is put
// together beforehand, since pieces of a line cannot be streamed.
template <typename T, class Write>
HWY_INLINE void WriteColumns(
    const Interval& kept, int64_t begin, int64_t end, uint64_t masked, Stores stores, T* row,
    const Write& write) {
  HWY_ALIGN T together[kPieceEntries];
  T* const to = stores == Stores::kStreamed ? together : row + begin;
  const auto fill = [&](int64_t first, int64_t last) HWY_ATTR {
    FillBytes(
        masked, (last - first) * static_cast<int64_t>(sizeof(T)),
        reinterpret_cast<uint8_t*>(to + (first - begin)), Stores::kCached);
  };
  const int64_t first = std::clamp(kept.begin, begin, end);
  const int64_t last = std::clamp(kept.end, first, end);
  fill(begin, first);
  write(first, last, to + (first - begin));
  fill(last, end);
  if (stores == Stores::kStreamed) {
    CopyBytes(
        reinterpret_cast<const uint8_t*>(together), (end - begin) * static_cast<int64_t>(sizeof(T)),
        reinterpret_cast<uint8_t*>(row + begin), stores);
  }
}

// Packed entries times `high` + `low` as elements.
template <class D, typename T, typename W>
HWY_INLINE void WriteScaled(
    D d, const W* HWY_RESTRICT packed, int64_t entries, W high, W low, T* HWY_RESTRICT out) {
  const auto high_factor = hn::Set(d, high);
  const auto low_factor = hn::Set(d, low);
  int64_t i = 0;
  const auto scaled = [&]() HWY_ATTR {
    const auto v = hn::LoadU(d, packed + i);
    return hn::MulAdd(v, high_factor, hn::Mul(v, low_factor));
  };
  for (; i + LanesOf(d) <= entries; i += LanesOf(d)) StoreReal(d, scaled(), out + i);
  if (i < entries) StorePart(d, scaled(), out + i, entries - i);
}

// Packed scores less `max` and `log_sum` as elements: their logarithms of the softmax.
template <class D, typename T, typename W>
HWY_INLINE void WriteLogs(
    D d, const W* HWY_RESTRICT packed, int64_t entries, W max, W log_sum, T* HWY_RESTRICT out) {
  const auto greatest = hn::Set(d, max);
  const auto log_of_sum = hn::Set(d, log_sum);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const auto v = hn::Sub(hn::Sub(hn::LoadU(d, packed + i), greatest), log_of_sum);
    StoreSome(d, v, out + i, std::min(LanesOf(d), entries - i));
  }
}

// Packed entries times `factor` as elements. There is no `low` of 0: times what has
// overflowed it would be NaN.
template <class D, typename T, typename W>
HWY_INLINE void WriteScaled(
    D d, const W* HWY_RESTRICT packed, int64_t entries, W factor, T* HWY_RESTRICT out) {
  const auto factors = hn::Set(d, factor);
  int64_t i = 0;
  const auto scaled = [&]() HWY_ATTR {
    const auto v = hn::LoadU(d, packed + i);
    // Plus 0 of its sign, so that what is masked stays +0 whatever the factor's.
    return hn::MulAdd(v, factors, hn::CopySign(hn::Zero(d), v));
  };
  for (; i + LanesOf(d) <= entries; i += LanesOf(d)) StoreReal(d, scaled(), out + i);
  if (i < entries) StorePart(d, scaled(), out + i, entries - i);
}

// The scores of a row, packed by pieces. Returns the greatest that is a number.
template <bool kCut, class D, typename T, typename W = Wide<T>>
HWY_INLINE W PackRow(
    D d, const Scores<T>& scores, int64_t row, const KeptRow& kept, const RowScratch<T>& scratch,
    ParallelFor parallel_for) {
  const auto pack = [&](int64_t piece, int64_t begin, int64_t end) HWY_ATTR {
    const KeptRow part = kept.Part(begin, end);
    scratch.sums[piece] = double{PackScores(d, scores, row, part, scratch.packed + begin)};
  };
  ForEachPiece<kCut>(kept.entries(), Stores::kCached, parallel_for, pack);
  double max = scratch.sums[0];
  for (int64_t i = 1; kCut && i < NumPieces(kept.entries()); ++i) {
    max = std::max(max, scratch.sums[i]);
  }
  return static_cast<W>(max);
}

// What a row is filled with: each entry of an empty one, and what is masked.
struct RowFill {
  uint64_t empty;
  uint64_t masked;
};

// A row of the softmax.
template <bool kCut, typename T>
HWY_INLINE void SoftmaxRow(
    const Scores<T>& scores, const KeptRow& kept, const RowFill& row_fill,
    const SoftmaxRowsOut<T>& rows_out, const RowScratch<T>& scratch, int64_t row,
    ParallelFor parallel_for) {
  using W = Wide<T>;
  constexpr W kInfinity = std::numeric_limits<W>::infinity();
  const bool log = rows_out.form == SoftmaxForm::kLog;
  T* const out = rows_out.y + row * scores.columns;
  const hn::ScalableTag<W> d;
  W* const packed = scratch.packed;
  const int64_t pieces = kCut ? NumPieces(kept.entries()) : 1;
  W max = PackRow<kCut>(d, scores, row, kept, scratch, parallel_for);
  if (IsEmpty(d, packed, kept.entries(), max)) {
    const auto fill = [&](int64_t /*piece*/, int64_t begin, int64_t end) HWY_ATTR {
      FillBytes(
          row_fill.empty, (end - begin) * static_cast<int64_t>(sizeof(T)),
          reinterpret_cast<uint8_t*>(out + begin), scratch.stores);
    };
    ForEachPiece<kCut>(scores.columns, scratch.stores, parallel_for, fill);
    if (rows_out.lse != nullptr) rows_out.lse[row] = -kInfinity;
    return;
  }
  const auto exponentials = [&](int64_t piece, int64_t begin, int64_t end) HWY_ATTR {
    W* const of_piece = packed + begin;
    scratch.sums[piece] = log ? ExpAndSum<true>(d, of_piece, end - begin, max, pieces == 1)
                              : ExpAndSum<false>(d, of_piece, end - begin, max, pieces == 1);
  };
  ForEachPiece<kCut>(kept.entries(), Stores::kCached, parallel_for, exponentials);
  double sum = SumOfPieces(scratch.sums, pieces);
  if (rows_out.lse != nullptr) rows_out.lse[row] = static_cast<W>(double{max} + std::log(sum));
  if (std::isnan(sum)) {
    // All that is kept is NaN; what is masked among it must not be.
    const auto nan = hn::Set(d, static_cast<W>(sum));
    const auto masked = hn::Set(d, log ? -kInfinity : 0);
    for (int64_t i = 0; i < kept.entries(); i += LanesOf(d)) {
      const bool* const mask_here = kept.mask == nullptr ? nullptr : kept.mask + i;
      const int64_t count = std::min(LanesOf(d), kept.entries() - i);
      hn::Store(Keep(d, nan, masked, mask_here, count), d, packed + i);
    }
    max = 0;
    sum = 1;
  }
  const auto write_row = [&](const auto& write_kept) HWY_ATTR {
    const auto write = [&](int64_t /*piece*/, int64_t begin, int64_t end) HWY_ATTR {
      WriteColumns(kept.columns, begin, end, row_fill.masked, scratch.stores, out, write_kept);
    };
    ForEachPiece<kCut>(scores.columns, scratch.stores, parallel_for, write);
  };
  if (log) {
    const auto log_sum = static_cast<W>(std::log(sum));
    write_row([&](int64_t first, int64_t last, T* to) HWY_ATTR {
      WriteLogs(d, packed + (first - kept.columns.begin), last - first, max, log_sum, to);
    });
    return;
  }
  // 1 / sum, of which `low` is what a W cannot hold.
  const auto inverse = static_cast<W>(1 / sum);
  const auto low = static_cast<W>(std::fma(-double{inverse}, sum, 1.0) / sum);
  write_row([&](int64_t first, int64_t last, T* to) HWY_ATTR {
    WriteScaled(d, packed + (first - kept.columns.begin), last - first, inverse, low, to);
  });
}

// The pattern that fills with a number.
template <typename T>
HWY_INLINE uint64_t PatternOf(Wide<T> number) {
  const hn::ScalableTag<Wide<T>> d;
  T element;
  StorePart(d, hn::Set(d, number), &element, 1);
  return FillPattern(element);
}

// Rows [first, last) of the softmax.
template <typename T>
HWY_INLINE void SoftmaxRows(
    const Scores<T>& scores, const ScoreMask& mask, const SoftmaxRowsOut<T>& out,
    const RowScratch<T>& scratch, int64_t first, int64_t last, ParallelFor parallel_for) {
  using W = Wide<T>;
  const W masked = out.form == SoftmaxForm::kLog ? -std::numeric_limits<W>::infinity() : 0;
  const RowFill row_fill{PatternOf<T>(out.empty), PatternOf<T>(masked)};
  for (int64_t row = first; row < last; ++row) {
    const KeptRow kept = KeptOf(mask, row, scores.columns);
    if (row + 1 < last) PrefetchKept(scores.x + (row + 1) * scores.columns, kept.columns);
    if (scores.columns <= kPieceEntries) {
      SoftmaxRow<false>(scores, kept, row_fill, out, scratch, row, parallel_for);
    } else {
      SoftmaxRow<true>(scores, kept, row_fill, out, scratch, row, parallel_for);
    }
  }
}

// Of a piece of a row.
struct Products {
  double dot;    // of p and dy, or, of logarithms, the sum of dy
  double total;  // of p
};

// Packs what is kept of the softmax p, which is y or, of logarithms, exp(y), and sums it up; y
// and dy are the piece's.
template <bool kLog, class D, typename T, typename W = Wide<T>>
HWY_INLINE Products PackAndSumProducts(
    D d, const T* y, const T* dy, const bool* mask, int64_t entries, bool alone,
    W* HWY_RESTRICT packed) {
  const auto zero = hn::Zero(d);
  auto total = zero;
  const auto each = [&](const auto& add) HWY_ATTR {
    for (int64_t i = 0; i < entries; i += LanesOf(d)) {
      const int64_t count = std::min(LanesOf(d), entries - i);
      const bool* const mask_here = mask == nullptr ? nullptr : mask + i;
      auto p = LoadSome(d, y + i, count);
      if constexpr (kLog) p = ExpOf<true>(d, p, zero);
      p = Keep(d, p, zero, mask_here, count);
      const auto g = Keep(d, LoadSome(d, dy + i, count), zero, mask_here, count);
      hn::Store(p, d, packed + i);
      add(p, g);
      total = hn::Add(total, p);
    }
  };
  double dot = 0;
  if (alone || sizeof(W) > sizeof(float)) {
    auto dots = zero;
    each([&](hn::VFromD<D> p, hn::VFromD<D> g)
             HWY_ATTR { dots = kLog ? hn::Add(dots, g) : hn::MulAdd(p, g, dots); });
    dot = double{hn::GetLane(hn::SumOfLanes(d, dots))};
  } else if constexpr (sizeof(W) == sizeof(float)) {
    WideSum dots;
    each([&](hn::VFromD<D> p, hn::VFromD<D> g) HWY_ATTR { dots.Add(kLog ? g : hn::Mul(p, g)); });
    dot = dots.Total();
  }
  return {dot, double{hn::GetLane(hn::SumOfLanes(d, total))}};
}

// Replaces a piece's packed p by p (dy - dot) or, of logarithms, dy - p dot, 0 where masked or
// `empty`.
template <bool kLog, class D, typename T, typename W = Wide<T>>
HWY_INLINE void PackDifferences(
    D d, const T* dy, const bool* mask, int64_t entries, W dot_of_row, bool empty,
    W* HWY_RESTRICT packed) {
  const auto zero = hn::Zero(d);
  const auto dot = hn::Set(d, dot_of_row);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), entries - i);
    const bool* const mask_here = mask == nullptr ? nullptr : mask + i;
    const auto g = Keep(d, LoadSome(d, dy + i, count), dot, mask_here, count);
    const auto p = hn::Load(d, packed + i);
    const auto ds = kLog ? hn::NegMulAdd(p, dot, g) : hn::Mul(p, hn::Sub(g, dot));
    hn::Store(empty ? zero : Keep(d, ds, zero, mask_here, count), d, packed + i);
  }
}

// One row of the gradient; adds ds to `sums`, of one entry a column or of one in
// all, unless they are null. The sum of y dy is off by at most 2^-23 of the sum of
// |y dy| in rows of more than one piece, and by 2^-13 in those of one, where floats
// are summed as they are; in double by 2^-41.
template <bool kCut, bool kLog, typename T>
HWY_INLINE void GradientRowOfPieces(
    const Scores<T>& scores, const ScoreMask& mask, const SoftmaxOutputs<T>& outputs, T* dx,
    const RowScratch<T>& scratch, int64_t row, double* HWY_RESTRICT sums,
    ParallelFor parallel_for) {
  using W = Wide<T>;
  const T* const y = outputs.y;
  const T* const dy = outputs.d_y;
  const hn::ScalableTag<W> d;
  W* const packed = scratch.packed;
  const KeptRow kept = KeptOf(mask, row, scores.columns);
  const int64_t entries = kept.entries();
  const int64_t start = row * scores.columns + kept.columns.begin;
  const int64_t pieces = kCut ? NumPieces(entries) : 1;
  if (row + 1 < scores.rows) {
    PrefetchKept(y + (row + 1) * scores.columns, kept.columns);
    PrefetchKept(dy + (row + 1) * scores.columns, kept.columns);
  }
  bool empty = false;
  if (scores.x != nullptr) {
    empty = IsEmpty(d, packed, entries, PackRow<kCut>(d, scores, row, kept, scratch, parallel_for));
  }
  double* const dots = scratch.sums;
  double* const totals = scratch.sums + pieces;
  const auto products = [&](int64_t piece, int64_t begin, int64_t end) HWY_ATTR {
    const Products sums_of_piece = PackAndSumProducts<kLog>(
        d, y + start + begin, dy + start + begin, kept.Part(begin, end).mask, end - begin,
        pieces == 1, packed + begin);
    dots[piece] = sums_of_piece.dot;
    totals[piece] = sums_of_piece.total;
  };
  ForEachPiece<kCut>(entries, Stores::kCached, parallel_for, products);
  // Without its scores an empty row is told by its probabilities, which are all 0.
  // None is below it, so that no sum of others is, however many they are.
  if (scores.x == nullptr) empty = SumOfPieces(totals, pieces) == 0;
  auto dot = static_cast<W>(SumOfPieces(dots, pieces));
  if (outputs.d_lse != nullptr) dot -= outputs.d_lse[row];
  const bool by_column = scores.bias_rows.column_stride() == 1;
  const auto differences = [&](int64_t piece, int64_t begin, int64_t end) HWY_ATTR {
    PackDifferences<kLog>(
        d, dy + start + begin, kept.Part(begin, end).mask, end - begin, dot, empty, packed + begin);
    if (sums == nullptr) return;
    if (by_column) {
      double* const to = sums + kept.columns.begin;
      for (int64_t i = begin; i < end; ++i) to[i] += double{packed[i]};
    } else {
      totals[piece] = pieces == 1 ? sums[0] : 0;
      for (int64_t i = begin; i < end; ++i) totals[piece] += double{packed[i]};
    }
  };
  ForEachPiece<kCut>(entries, Stores::kCached, parallel_for, differences);
  if (sums != nullptr && !by_column) {
    sums[0] = pieces == 1 ? totals[0] : sums[0] + SumOfPieces(totals, pieces);
  }
  T* const out = dx + row * scores.columns;
  const auto scaled = [&](int64_t first, int64_t last, T* to) HWY_ATTR {
    WriteScaled(d, packed + (first - kept.columns.begin), last - first, scores.scale, to);
  };
  const auto write = [&](int64_t /*piece*/, int64_t begin, int64_t end) HWY_ATTR {
    WriteColumns(kept.columns, begin, end, 0, scratch.stores, out, scaled);
  };
  ForEachPiece<kCut>(scores.columns, scratch.stores, parallel_for, write);
}

template <typename T>
HWY_INLINE void SoftmaxGradientRow(
    const Scores<T>& scores, const ScoreMask& mask, const SoftmaxOutputs<T>& outputs, T* dx,
    const RowScratch<T>& scratch, int64_t row, double* HWY_RESTRICT sums,
    ParallelFor parallel_for) {
  if (outputs.form == SoftmaxForm::kLog) {
    // Of any length, which is compiled once.
    GradientRowOfPieces<true, true>(scores, mask, outputs, dx, scratch, row, sums, parallel_for);
  } else if (scores.columns <= kPieceEntries) {
    GradientRowOfPieces<false, false>(scores, mask, outputs, dx, scratch, row, sums, parallel_for);
  } else {
    GradientRowOfPieces<true, false>(scores, mask, outputs, dx, scratch, row, sums, parallel_for);
  }
}

// Sums as elements.
template <typename T>
HWY_INLINE void NarrowSums(const double* HWY_RESTRICT sums, int64_t count, T* HWY_RESTRICT out) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  for (int64_t i = 0; i < count; i += LanesOf(d)) {
    HWY_ALIGN W part[hn::MaxLanes(hn::ScalableTag<W>())] = {};
    const int64_t some = std::min(LanesOf(d), count - i);
    for (int64_t j = 0; j < some; ++j) part[j] = static_cast<W>(sums[i + j]);
    StorePart(d, hn::Load(d, part), out + i, some);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
