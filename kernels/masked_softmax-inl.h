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

// Replaces packed scores by exp(score - max), without the rounding error of the
// difference, and returns their sum, each lane's with what its additions lost.
template <class D, typename W>
HWY_INLINE double ExpAndSum(D d, W* HWY_RESTRICT packed, int64_t entries, W max) {
  const auto greatest = hn::Set(d, max);
  // From 1, which no exponential is above, a sum tells in two steps what it lost.
  const auto one = hn::Set(d, W{1});
  auto sum = one;
  auto lost = hn::Zero(d);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const auto score = hn::Load(d, packed + i);
    const auto x = hn::Sub(score, greatest);
    const auto subtracted = hn::Sub(x, score);
    const auto low = hn::Sub(hn::Sub(score, hn::Sub(x, subtracted)), hn::Add(greatest, subtracted));
    const auto e = ExpOf<true>(d, x, low);
    hn::Store(e, d, packed + i);
    const auto next = hn::Add(sum, e);
    lost = hn::Add(lost, hn::Sub(e, hn::Sub(next, sum)));
    sum = next;
  }
  HWY_ALIGN W sums[hn::MaxLanes(D())];
  HWY_ALIGN W rests[hn::MaxLanes(D())];
  hn::Store(hn::Sub(sum, one), d, sums);
  hn::Store(lost, d, rests);
  double total = 0;
  for (int64_t i = 0; i < LanesOf(d); ++i) total += double{sums[i]} + double{rests[i]};
  return total;
}

// Where a row's output is put together: on the spot or, where it is to be streamed,
// in scratch, since pieces of a line cannot be.
template <typename T>
HWY_INLINE T* BeginRow(const RowScratch<T>& scratch, T* row) {
  return scratch.stores == Stores::kStreamed ? scratch.row : row;
}

// Completes a row of which `kept` was written: zeros elsewhere.
template <typename T>
HWY_INLINE void FinishRow(
    const RowScratch<T>& scratch, const Interval& kept, int64_t columns, T* row) {
  const auto width = static_cast<int64_t>(sizeof(T));
  auto* const bytes = reinterpret_cast<uint8_t*>(BeginRow(scratch, row));
  FillBytes(0, kept.begin * width, bytes, Stores::kCached);
  FillBytes(0, (columns - kept.end) * width, bytes + kept.end * width, Stores::kCached);
  if (scratch.stores == Stores::kStreamed) {
    CopyBytes(bytes, columns * width, reinterpret_cast<uint8_t*>(row), scratch.stores);
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
    const auto v = hn::Load(d, packed + i);
    return hn::MulAdd(v, high_factor, hn::Mul(v, low_factor));
  };
  for (; i + LanesOf(d) <= entries; i += LanesOf(d)) StoreReal(d, scaled(), out + i);
  if (i < entries) StorePart(d, scaled(), out + i, entries - i);
}

// Packed entries times `factor` as elements. There is no `low` of 0: times what has
// overflowed it would be NaN.
template <class D, typename T, typename W>
HWY_INLINE void WriteScaled(
    D d, const W* HWY_RESTRICT packed, int64_t entries, W factor, T* HWY_RESTRICT out) {
  const auto factors = hn::Set(d, factor);
  int64_t i = 0;
  const auto scaled = [&]() HWY_ATTR {
    const auto v = hn::Load(d, packed + i);
    // Plus 0 of its sign, so that what is masked stays +0 whatever the factor's.
    return hn::MulAdd(v, factors, hn::CopySign(hn::Zero(d), v));
  };
  for (; i + LanesOf(d) <= entries; i += LanesOf(d)) StoreReal(d, scaled(), out + i);
  if (i < entries) StorePart(d, scaled(), out + i, entries - i);
}

// Rows [first, last) of the softmax; an empty one is filled with `empty`.
template <typename T>
HWY_INLINE void SoftmaxRows(
    const Scores<T>& scores, const ScoreMask& mask, Wide<T> empty, T* y,
    const RowScratch<T>& scratch, int64_t first, int64_t last) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  W* const packed = scratch.packed;
  T empty_element;
  StorePart(d, hn::Set(d, empty), &empty_element, 1);
  const uint64_t empty_pattern = FillPattern(empty_element);
  for (int64_t row = first; row < last; ++row) {
    T* const out = y + row * scores.columns;
    const KeptRow kept = KeptOf(mask, row, scores.columns);
    if (row + 1 < last) PrefetchKept(scores.x + (row + 1) * scores.columns, kept.columns);
    const auto max = PackScores(d, scores, row, kept, packed);
    if (IsEmpty(d, packed, kept.entries(), max)) {
      FillBytes(
          empty_pattern, scores.columns * static_cast<int64_t>(sizeof(T)),
          reinterpret_cast<uint8_t*>(out), scratch.stores);
      continue;
    }
    double sum = ExpAndSum(d, packed, kept.entries(), max);
    if (std::isnan(sum)) {
      // All that is kept is NaN; what is masked among it must not be.
      const auto nan = hn::Set(d, static_cast<W>(sum));
      for (int64_t i = 0; i < kept.entries(); i += LanesOf(d)) {
        const bool* const mask_here = kept.mask == nullptr ? nullptr : kept.mask + i;
        const int64_t count = std::min(LanesOf(d), kept.entries() - i);
        hn::Store(Keep(d, nan, hn::Zero(d), mask_here, count), d, packed + i);
      }
      sum = 1;
    }
    // 1 / sum, of which `low` is what a W cannot hold.
    const auto inverse = static_cast<W>(1 / sum);
    const auto low = static_cast<W>(std::fma(-double{inverse}, sum, 1.0) / sum);
    WriteScaled(
        d, packed, kept.entries(), inverse, low, BeginRow(scratch, out) + kept.columns.begin);
    FinishRow(scratch, kept.columns, scores.columns, out);
  }
}

// One row of the gradient; adds ds to `sums`, of one entry a column or of one in
// all, unless they are null.
template <typename T>
HWY_INLINE void SoftmaxGradientRow(
    const Scores<T>& scores, const ScoreMask& mask, const T* y, const T* dy, T* dx,
    const RowScratch<T>& scratch, int64_t row, double* HWY_RESTRICT sums) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  W* const packed = scratch.packed;
  const KeptRow kept = KeptOf(mask, row, scores.columns);
  const int64_t entries = kept.entries();
  const int64_t start = row * scores.columns + kept.columns.begin;
  const auto zero = hn::Zero(d);
  if (row + 1 < scores.rows) {
    PrefetchKept(y + (row + 1) * scores.columns, kept.columns);
    PrefetchKept(dy + (row + 1) * scores.columns, kept.columns);
  }
  bool empty = false;
  if (scores.x != nullptr) {
    empty = IsEmpty(d, packed, entries, PackScores(d, scores, row, kept, packed));
  }
  auto dots = zero;
  auto total = zero;
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), entries - i);
    const bool* const mask_here = kept.mask == nullptr ? nullptr : kept.mask + i;
    const auto p = Keep(d, LoadSome(d, y + start + i, count), zero, mask_here, count);
    const auto g = Keep(d, LoadSome(d, dy + start + i, count), zero, mask_here, count);
    hn::Store(p, d, packed + i);
    dots = hn::MulAdd(p, g, dots);
    total = hn::Add(total, p);
  }
  // Without its scores an empty row is told by its probabilities, which are all 0.
  if (scores.x == nullptr) empty = hn::GetLane(hn::SumOfLanes(d, total)) == 0;
  const auto dot = hn::SumOfLanes(d, dots);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), entries - i);
    const bool* const mask_here = kept.mask == nullptr ? nullptr : kept.mask + i;
    const auto g = Keep(d, LoadSome(d, dy + start + i, count), dot, mask_here, count);
    const auto ds = hn::Mul(hn::Load(d, packed + i), hn::Sub(g, dot));
    hn::Store(empty ? zero : Keep(d, ds, zero, mask_here, count), d, packed + i);
  }
  if (sums != nullptr) {
    const bool by_column = scores.bias_rows.column_stride() == 1;
    for (int64_t i = 0; i < entries; ++i) {
      sums[by_column ? kept.columns.begin + i : 0] += double{packed[i]};
    }
  }
  T* const out = dx + row * scores.columns;
  WriteScaled(d, packed, entries, scores.scale, BeginRow(scratch, out) + kept.columns.begin);
  FinishRow(scratch, kept.columns, scores.columns, out);
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
