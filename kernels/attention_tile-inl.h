// Per-target code of kernels/attention_tile.h; see kernels/attention_tile.cc.

#if defined(CAFFE2OP_MASK_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_ATTENTION_TILE_INL_H_
#undef CAFFE2OP_MASK_KERNELS_ATTENTION_TILE_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/attention_tile.h"
#include "kernels/exp-inl.h"
#include "kernels/real-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The whole vectors in which an interval lies.
template <class D>
HWY_INLINE Interval WholeVectors(D d, const Interval& kept) {
  const int64_t lanes = LanesOf(d);
  return {kept.begin / lanes * lanes, (kept.end + lanes - 1) / lanes * lanes};
}

// Sets what the vectors of an interval hold outside of it.
template <class D, typename W>
HWY_INLINE void SetEdges(D d, const Interval& vectors, const Interval& kept, W value, W* row) {
  const auto outside = hn::Set(d, value);
  if (kept.begin > vectors.begin) {
    const auto before = hn::FirstN(d, static_cast<size_t>(kept.begin - vectors.begin));
    W* const first = row + vectors.begin;
    hn::Store(hn::IfThenElse(before, outside, hn::Load(d, first)), d, first);
  }
  if (kept.end < vectors.end) {
    W* const last = row + vectors.end - LanesOf(d);
    const auto inside = hn::FirstN(d, static_cast<size_t>(row + kept.end - last));
    hn::Store(hn::IfThenElse(inside, hn::Load(d, last), outside), d, last);
  }
}

// Zeros outside of the vectors.
template <class D, typename W>
HWY_INLINE void ZeroAround(D d, const Interval& vectors, int64_t columns, W* row) {
  for (int64_t j = 0; j < vectors.begin; j += LanesOf(d)) hn::Store(hn::Zero(d), d, row + j);
  for (int64_t j = vectors.end; j < columns; j += LanesOf(d)) hn::Store(hn::Zero(d), d, row + j);
}

// Biases the kept scores of a row; -inf where masked.
template <typename T, class D, typename W = Wide<T>>
HWY_INLINE void AddBias(D d, const AttentionTile& tile, int64_t r, W* row) {
  const Interval kept = tile.kept[r];
  const T* const bias = tile.bias == nullptr ? nullptr : static_cast<const T*>(tile.bias[r]);
  const bool* const mask = tile.mask == nullptr ? nullptr : tile.mask[r];
  auto added = hn::Zero(d);
  if (bias != nullptr && tile.bias_stride == 0) {
    added = hn::Set(d, hn::GetLane(LoadPart(d, bias, 1)));
  }
  for (int64_t j = kept.begin; j < kept.end; j += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), kept.end - j);
    if (bias != nullptr && tile.bias_stride == 1) added = LoadSome(d, bias + j, count);
    auto score = hn::Add(LoadSome(d, row + j, count), added);
    if (mask != nullptr) {
      const auto none = hn::Set(d, -std::numeric_limits<W>::infinity());
      score = hn::IfThenElse(LoadKept(d, mask + j, count), score, none);
    }
    StoreSome(d, score, row + j, count);
  }
}

// Caps and biases the kept scores of a row; -inf where masked, in all of the
// vectors that the row's interval touches.
template <class D, typename W = hn::TFromD<D>>
HWY_INLINE void PrepareScores(
    D d, const AttentionTile& tile, int64_t r, const Interval& vectors, W* row, W* slopes) {
  if (tile.softcap != 0) {
    const auto softcap = static_cast<W>(tile.softcap);
    const auto cap = hn::Set(d, softcap);
    // Finite, so that a score of 0 stays one under the smallest of caps.
    const auto inverse = hn::Set(d, std::min(1 / softcap, std::numeric_limits<W>::max()));
    const auto one = hn::Set(d, W{1});
    for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
      const auto score = hn::Load(d, row + j);
      // Highway's tanh(NaN) is a number.
      const auto t = hn::IfThenElse(hn::IsNaN(score), score, hn::Tanh(d, hn::Mul(score, inverse)));
      hn::Store(hn::Mul(cap, t), d, row + j);
      if (slopes == nullptr) continue;
      // Of a masked NaN, too, the slope is a number: it is multiplied by 0.
      const auto slope = hn::IfThenZeroElse(hn::IsNaN(t), hn::NegMulAdd(t, t, one));
      hn::Store(slope, d, slopes + j);
    }
  }
  if (tile.bias != nullptr || tile.mask != nullptr) {
    WithElement(tile.type, [&](auto element) HWY_ATTR {
      using T = decltype(element);
      if constexpr (std::is_same<Wide<T>, W>::value) AddBias<T>(d, tile, r, row);
    });
  }
  SetEdges(d, vectors, tile.kept[r], -std::numeric_limits<W>::infinity(), row);
}

// All of a row whose greatest number is -inf: NaN where it was, else 0.
template <class D, typename W>
HWY_INLINE auto KeepNaN(D d, const Interval& vectors, W* row) {
  auto sum = hn::Zero(d);
  for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
    const auto score = hn::Load(d, row + j);
    const auto p = hn::IfThenElseZero(hn::IsNaN(score), score);
    hn::Store(p, d, row + j);
    sum = hn::Add(sum, p);
  }
  return sum;
}

// Replaces a row's scores by exp(score - max) and returns the vector of their sums.
template <class D, typename W>
HWY_INLINE auto ExpRow(D d, const Interval& vectors, W max, W* row) {
  const auto greatest = hn::Set(d, max);
  const auto none = hn::Zero(d);
  auto sum = hn::Zero(d);
  for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
    const auto p = ExpOf<false>(d, hn::Sub(hn::Load(d, row + j), greatest), none);
    hn::Store(p, d, row + j);
    sum = hn::Add(sum, p);
  }
  return sum;
}

template <typename W>
HWY_INLINE void SoftmaxRows(
    const AttentionTile& tile, W* scores, W* max, W* sum, W* output, int64_t depth) {
  const hn::ScalableTag<W> d;
  const W infinity = std::numeric_limits<W>::infinity();
  for (int64_t r = 0; r < tile.rows; ++r) {
    W* const row = scores + r * tile.stride;
    if (tile.kept[r].begin == tile.kept[r].end) {
      ZeroAround(d, {0, 0}, tile.columns, row);
      continue;
    }
    const Interval vectors = WholeVectors(d, tile.kept[r]);
    PrepareScores(d, tile, r, vectors, row, static_cast<W*>(nullptr));
    auto maxima = hn::Set(d, -infinity);
    // In this order x86 takes the second where the first is NaN.
    for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
      maxima = hn::Max(hn::Load(d, row + j), maxima);
    }
    const W next = std::max(max[r], hn::GetLane(hn::MaxOfLanes(d, maxima)));
    const auto sums = next == -infinity ? KeepNaN(d, vectors, row) : ExpRow(d, vectors, next, row);
    const W added = hn::GetLane(hn::SumOfLanes(d, sums));
    ZeroAround(d, vectors, tile.columns, row);
    if (next == max[r]) {
      sum[r] += added;
      continue;
    }
    // exp(-inf) is 0: what there was before counts for nothing.
    const W factor = std::exp(max[r] - next);
    max[r] = next;
    sum[r] = sum[r] * factor + added;
    if (output == nullptr) continue;
    for (int64_t j = 0; j < depth; ++j) output[r * depth + j] *= factor;
  }
}

template <typename W>
HWY_INLINE void NormalizeRows(
    const AttentionTile& tile, W* scores, const W* base, const W* factor, W* slopes) {
  const hn::ScalableTag<W> d;
  for (int64_t r = 0; r < tile.rows; ++r) {
    W* const row = scores + r * tile.stride;
    W* const slope = slopes == nullptr ? nullptr : slopes + r * tile.stride;
    Interval vectors{0, 0};
    if (tile.kept[r].begin != tile.kept[r].end) {
      vectors = WholeVectors(d, tile.kept[r]);
      PrepareScores(d, tile, r, vectors, row, slope);
      ExpRow(d, vectors, base[r], row);
      if (factor != nullptr && factor[r] != 1) {
        const auto by = hn::Set(d, factor[r]);
        for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
          hn::Store(hn::Mul(hn::Load(d, row + j), by), d, row + j);
        }
      }
    }
    ZeroAround(d, vectors, tile.columns, row);
    if (slope != nullptr) ZeroAround(d, vectors, tile.columns, slope);
  }
}

template <typename W>
HWY_INLINE void DifferentiateRows(
    const AttentionTile& tile, const W* p, const W* delta, W* dp, W scale, const W* slopes) {
  const hn::ScalableTag<W> d;
  const auto factor = hn::Set(d, scale);
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t begin = r * tile.stride;
    W* const row = dp + begin;
    const Interval kept = tile.kept[r];
    const Interval vectors = kept.begin == kept.end ? Interval{0, 0} : WholeVectors(d, kept);
    const auto mean = hn::Set(d, delta[r]);
    for (int64_t j = vectors.begin; j < vectors.end; j += LanesOf(d)) {
      auto ds = hn::Mul(hn::Load(d, p + begin + j), hn::Sub(hn::Load(d, row + j), mean));
      ds = hn::Mul(ds, factor);
      if (slopes != nullptr) ds = hn::Mul(ds, hn::Load(d, slopes + begin + j));
      hn::Store(ds, d, row + j);
    }
    if (tile.mask != nullptr) {
      const bool* const mask = tile.mask[r];
      for (int64_t j = kept.begin; j < kept.end; j += LanesOf(d)) {
        const int64_t count = std::min(LanesOf(d), kept.end - j);
        const auto ds = LoadSome(d, row + j, count);
        StoreSome(d, hn::IfThenElseZero(LoadKept(d, mask + j, count), ds), row + j, count);
      }
    }
    SetEdges(d, vectors, kept.begin == kept.end ? vectors : kept, W{0}, row);
    ZeroAround(d, vectors, tile.columns, row);
  }
}

template <typename W>
HWY_INLINE void DotsOfRows(
    const W* a, const W* b, int64_t rows, int64_t depth, W* HWY_RESTRICT dots) {
  const hn::ScalableTag<W> d;
  for (int64_t r = 0; r < rows; ++r) {
    auto sum = hn::Zero(d);
    for (int64_t j = 0; j < depth; j += LanesOf(d)) {
      const int64_t count = std::min(LanesOf(d), depth - j);
      sum = hn::MulAdd(
          LoadSome(d, a + r * depth + j, count), LoadSome(d, b + r * depth + j, count), sum);
    }
    dots[r] = hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

template <typename T>
HWY_INLINE void WriteScaledRow(
    const Wide<T>* HWY_RESTRICT in, Wide<T> factor, int64_t count, T* HWY_RESTRICT out) {
  const hn::ScalableTag<Wide<T>> d;
  const auto by = hn::Set(d, factor);
  for (int64_t j = 0; j < count; j += LanesOf(d)) {
    const int64_t some = std::min(LanesOf(d), count - j);
    StoreSome(d, hn::Mul(LoadSome(d, in + j, some), by), out + j, some);
  }
}

template <typename W>
HWY_INLINE bool FiniteAll(const W* in, int64_t count) {
  const hn::ScalableTag<W> d;
  // x - x is 0 for what is finite, else NaN; NaN stays in a sum.
  auto rest = hn::Zero(d);
  // Four sums, none of which waits for another.
  auto rest1 = rest;
  auto rest2 = rest;
  auto rest3 = rest;
  const int64_t lanes = LanesOf(d);
  int64_t j = 0;
  for (; j + 4 * lanes <= count; j += 4 * lanes) {
    const auto v0 = hn::LoadU(d, in + j);
    const auto v1 = hn::LoadU(d, in + j + lanes);
    const auto v2 = hn::LoadU(d, in + j + 2 * lanes);
    const auto v3 = hn::LoadU(d, in + j + 3 * lanes);
    rest = hn::Add(rest, hn::Sub(v0, v0));
    rest1 = hn::Add(rest1, hn::Sub(v1, v1));
    rest2 = hn::Add(rest2, hn::Sub(v2, v2));
    rest3 = hn::Add(rest3, hn::Sub(v3, v3));
  }
  for (; j < count; j += lanes) {
    const auto v = LoadSome(d, in + j, std::min(lanes, count - j));
    rest = hn::Add(rest, hn::Sub(v, v));
  }
  rest = hn::Add(hn::Add(rest, rest1), hn::Add(rest2, rest3));
  return hn::AllFalse(d, hn::IsNaN(rest));
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
