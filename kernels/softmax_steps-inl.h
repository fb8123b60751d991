// Per-target code of kernels/softmax_steps.h; see kernels/softmax_steps.cc.

#if defined(CAFFE2OP_MASK_KERNELS_SOFTMAX_STEPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_SOFTMAX_STEPS_INL_H_
#undef CAFFE2OP_MASK_KERNELS_SOFTMAX_STEPS_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_SOFTMAX_STEPS_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "hwy/highway.h"
#include "kernels/exp-inl.h"
#include "kernels/fill-inl.h"
#include "kernels/real-inl.h"
#include "kernels/softmax_steps.h"

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

template <typename T>
double PackScores(
    const Scores& scores, int64_t row, int64_t column, int64_t entries, const bool* mask,
    void* to) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  auto* const HWY_RESTRICT packed = static_cast<W*>(to);
  const auto masked = hn::Set(d, -std::numeric_limits<W>::infinity());
  const auto scale = hn::Set(d, static_cast<W>(scores.scale));
  const T* const x = static_cast<const T*>(scores.x) + row * scores.columns + column;
  const T* bias = nullptr;
  auto bias_of_row = hn::Zero(d);
  if (scores.bias != nullptr) {
    bias = static_cast<const T*>(scores.bias) + scores.bias_rows.Offset(row);
    if (scores.bias_rows.column_stride() == 1) {
      bias += column;
    } else {
      bias_of_row = hn::Set(d, hn::GetLane(LoadPart(d, bias, 1)));
      bias = nullptr;
    }
  }
  const bool as_is = scores.bias == nullptr && scores.scale == 1;
  auto max = masked;
  const auto pack = [&](int64_t i, auto score) HWY_ATTR {
    hn::Store(score, d, packed + i);
    // In this order x86 takes the second where the first is NaN.
    max = hn::Max(score, max);
  };
  int64_t i = 0;
  if (as_is && mask == nullptr) {
    for (; i + LanesOf(d) <= entries; i += LanesOf(d)) pack(i, LoadReal(d, x + i));
  }
  for (; i < entries; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), entries - i);
    auto score = LoadSome(d, x + i, count);
    if (!as_is) {
      if (bias != nullptr) bias_of_row = LoadSome(d, bias + i, count);
      score = hn::MulAdd(score, scale, bias_of_row);
    }
    pack(i, Keep(d, score, masked, mask == nullptr ? nullptr : mask + i, count));
  }
  const W greatest = hn::GetLane(hn::MaxOfLanes(d, max));
  if (greatest > -std::numeric_limits<W>::infinity()) return double{greatest};
  auto nan = hn::IsNaN(masked);
  for (i = 0; i < entries; i += LanesOf(d)) {
    nan = hn::Or(nan, hn::IsNaN(hn::Load(d, packed + i)));
  }
  return hn::AllFalse(d, nan) ? double{greatest} : std::numeric_limits<double>::quiet_NaN();
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
template <class D, typename W, class Add>
HWY_INLINE void ExpEach(
    D d, W* HWY_RESTRICT packed, int64_t entries, W max, bool keep_scores, const Add& add) {
  const auto greatest = hn::Set(d, max);
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const auto score = hn::Load(d, packed + i);
    const auto x = hn::Sub(score, greatest);
    const auto subtracted = hn::Sub(x, score);
    const auto low = hn::Sub(hn::Sub(score, hn::Sub(x, subtracted)), hn::Add(greatest, subtracted));
    const auto e = ExpOf<true>(d, x, low);
    if (!keep_scores) hn::Store(e, d, packed + i);
    add(e);
  }
}

// A row's sum is at least 1. A piece alone sums each lane with what its additions lost:
// with N entries a lane and a rounding of u, that is at most N u of the lane, and to
// sum it up loses N^2 u^2 / 2 of the lane; with the 1s, 2^-26 of the row in 4 lanes of
// float. Those 1s are as many as pieces: so floats of other pieces are summed in double,
// where 2^-43 is lost. In double they stay: of a row of 2^40 entries 2^-56 is lost.
template <typename W>
double ExpAndSum(void* scores, int64_t entries, double greatest, bool alone, bool keep_scores) {
  const hn::ScalableTag<W> d;
  using V = hn::VFromD<decltype(d)>;
  auto* const packed = static_cast<W*>(scores);
  const W max = static_cast<W>(greatest);
  if constexpr (sizeof(W) == sizeof(float)) {
    if (!alone) {
      WideSum sum;
      ExpEach(d, packed, entries, max, keep_scores, [&](V e) HWY_ATTR { sum.Add(e); });
      return sum.Total();
    }
  }
  // From 1, which no exponential is above, a sum tells in two steps what it lost.
  const auto one = hn::Set(d, W{1});
  auto sum = one;
  auto lost = hn::Zero(d);
  ExpEach(d, packed, entries, max, keep_scores, [&](V e) HWY_ATTR {
    const auto next = hn::Add(sum, e);
    lost = hn::Add(lost, hn::Sub(e, hn::Sub(next, sum)));
    sum = next;
  });
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<W>());
  HWY_ALIGN W sums[kLanes];
  HWY_ALIGN W rests[kLanes];
  HWY_ALIGN double exact[kLanes];
  hn::Store(hn::Sub(sum, one), d, sums);
  hn::Store(lost, d, rests);
  for (size_t i = 0; i < kLanes; ++i) exact[i] = double{sums[i]} + double{rests[i]};
  return std::accumulate(exact, exact + kLanes, 0.0);
}

// Stores result(v) for each vector v of packed entries.
template <typename T, class Result>
HWY_INLINE void WriteEach(const void* from, int64_t entries, void* to, const Result& result) {
  const hn::ScalableTag<Wide<T>> d;
  const auto* const HWY_RESTRICT packed = static_cast<const Wide<T>*>(from);
  auto* const HWY_RESTRICT out = static_cast<T*>(to);
  int64_t i = 0;
  for (; i + LanesOf(d) <= entries; i += LanesOf(d)) {
    StoreReal(d, result(hn::LoadU(d, packed + i)), out + i);
  }
  if (i < entries) StorePart(d, result(hn::LoadU(d, packed + i)), out + i, entries - i);
}

template <typename T>
void WriteQuotients(const void* packed, int64_t entries, double sum, void* out) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  // 1 / sum, of which `low` is what a W cannot hold.
  const auto inverse = static_cast<W>(1 / sum);
  const auto high = hn::Set(d, inverse);
  const auto low = hn::Set(d, static_cast<W>(std::fma(-double{inverse}, sum, 1.0) / sum));
  WriteEach<T>(
      packed, entries, out, [&](auto v) HWY_ATTR { return hn::MulAdd(v, high, hn::Mul(v, low)); });
}

template <typename T>
void WriteLogs(const void* packed, int64_t entries, double max, double log_sum, void* out) {
  const hn::ScalableTag<Wide<T>> d;
  const auto greatest = hn::Set(d, static_cast<Wide<T>>(max));
  const auto log_of_sum = hn::Set(d, static_cast<Wide<T>>(log_sum));
  WriteEach<T>(packed, entries, out, [&](auto v) HWY_ATTR {
    return hn::Sub(hn::Sub(v, greatest), log_of_sum);
  });
}

template <typename T>
void WriteProducts(const void* packed, int64_t entries, double factor, void* out) {
  const hn::ScalableTag<Wide<T>> d;
  const auto factors = hn::Set(d, static_cast<Wide<T>>(factor));
  WriteEach<T>(packed, entries, out, [&](auto v) HWY_ATTR {
    // Plus 0 of its sign, so that what is masked stays +0 whatever the factor's.
    return hn::MulAdd(v, factors, hn::CopySign(hn::Zero(d), v));
  });
}

inline void FillCached(uint64_t pattern, int64_t bytes, uint8_t* out) {
  FillBytes(pattern, bytes, out, Stores::kCached);
}

template <typename T, bool kLog>
PieceSums PackProbabilities(
    const void* y_of_piece, const void* dy_of_piece, const bool* mask, int64_t entries, bool alone,
    void* to) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  using V = hn::VFromD<decltype(d)>;
  const auto* const y = static_cast<const T*>(y_of_piece);
  const auto* const dy = static_cast<const T*>(dy_of_piece);
  auto* const HWY_RESTRICT packed = static_cast<W*>(to);
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
    each([&](V p, V g) HWY_ATTR { dots = kLog ? hn::Add(dots, g) : hn::MulAdd(p, g, dots); });
    dot = double{hn::GetLane(hn::SumOfLanes(d, dots))};
  } else if constexpr (sizeof(W) == sizeof(float)) {
    WideSum dots;
    each([&](V p, V g) HWY_ATTR { dots.Add(kLog ? g : hn::Mul(p, g)); });
    dot = dots.Total();
  }
  return {dot, double{hn::GetLane(hn::SumOfLanes(d, total))}};
}

template <typename T, bool kLog>
void PackDifferences(
    const void* dy_of_piece, const bool* mask, int64_t entries, double dot_of_row, bool empty,
    void* to) {
  using W = Wide<T>;
  const hn::ScalableTag<W> d;
  const auto* const dy = static_cast<const T*>(dy_of_piece);
  auto* const HWY_RESTRICT packed = static_cast<W*>(to);
  const auto zero = hn::Zero(d);
  const auto dot = hn::Set(d, static_cast<W>(dot_of_row));
  for (int64_t i = 0; i < entries; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), entries - i);
    const bool* const mask_here = mask == nullptr ? nullptr : mask + i;
    const auto g = Keep(d, LoadSome(d, dy + i, count), dot, mask_here, count);
    const auto p = hn::Load(d, packed + i);
    const auto ds = kLog ? hn::NegMulAdd(p, dot, g) : hn::Mul(p, hn::Sub(g, dot));
    hn::Store(empty ? zero : Keep(d, ds, zero, mask_here, count), d, packed + i);
  }
}

template <typename W>
void AddTo(const void* packed, int64_t entries, int64_t stride, double* HWY_RESTRICT sums) {
  const auto* const HWY_RESTRICT from = static_cast<const W*>(packed);
  if (stride == 0) {
    double sum = sums[0];
    for (int64_t i = 0; i < entries; ++i) sum += double{from[i]};
    sums[0] = sum;
  } else {
    for (int64_t i = 0; i < entries; ++i) sums[i] += double{from[i]};
  }
}

template <typename T>
constexpr SoftmaxSteps kSoftmaxSteps{
    PackScores<T>,
    ExpAndSum<Wide<T>>,
    WriteQuotients<T>,
    WriteLogs<T>,
    WriteProducts<T>,
    FillCached,
    {PackProbabilities<T, false>, PackDifferences<T, false>},
    {PackProbabilities<T, true>, PackDifferences<T, true>},
    AddTo<Wide<T>>};

const SoftmaxSteps& SoftmaxStepsOf(Real type) {
  return *WithElement(type, [](auto element) { return &kSoftmaxSteps<decltype(element)>; });
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
