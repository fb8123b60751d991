// Per-target code of kernels/real.h: blocks are loaded, computed by whole vectors
// and stored. What an element becomes does not depend on where in a block it is.

#if defined(CAFFE2OP_MASK_KERNELS_REAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#undef CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/fill-inl.h"
#include "kernels/real.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

template <typename C>
struct HWY_ALIGN RealBlock {
  C at[kRealBlock];
};

// Calls f(d, i) at every vector of a block of `count` elements, the last of which
// may reach past them, not past the block.
template <typename C, class F>
HWY_INLINE void ForEachVector(int64_t count, const F& f) {
  const hn::ScalableTag<C> d;
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) f(d, i);
}

template <class D>
HWY_INLINE hn::VFromD<D> LoadFloat16(D d, const uint16_t* from) {
  const hn::Rebind<uint16_t, D> du16;
#if HWY_TARGET <= HWY_AVX2
  const hn::Rebind<hwy::float16_t, D> df16;
  return hn::PromoteTo(d, hn::BitCast(df16, hn::LoadU(du16, from)));
#else
  const hn::RebindToUnsigned<D> du32;
  const auto half = hn::PromoteTo(du32, hn::LoadU(du16, from));
  const auto rest = hn::ShiftLeft<13>(hn::And(half, hn::Set(du32, 0x7FFF)));
  // The exponent's bias is mended by a product, which subnormal numbers need too.
  const auto scale = hn::BitCast(d, hn::Set(du32, 0x77800000));  // 2^112
  const auto finite = hn::BitCast(du32, hn::Mul(hn::BitCast(d, rest), scale));
  const auto infinity = hn::Set(du32, 0x7F800000);
  const auto is_finite = hn::Lt(
      hn::BitCast(hn::RebindToSigned<D>(), rest),
      hn::BitCast(hn::RebindToSigned<D>(), hn::Set(du32, 0x7C00 << 13)));
  const auto magnitude =
      hn::IfThenElse(hn::RebindMask(du32, is_finite), finite, hn::Or(rest, infinity));
  const auto sign = hn::ShiftLeft<16>(hn::And(half, hn::Set(du32, 0x8000)));
  return hn::BitCast(d, hn::Or(magnitude, sign));
#endif
}

template <class D>
HWY_INLINE hn::VFromD<D> LoadBFloat16(D d, const uint16_t* from) {
  const hn::RebindToUnsigned<D> du32;
  const hn::Rebind<uint16_t, D> du16;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du32, hn::LoadU(du16, from))));
}

// To the nearest, ties to even.
template <class D>
HWY_INLINE void StoreFloat16(D d, hn::VFromD<D> value, uint16_t* to) {
  const hn::Rebind<uint16_t, D> du16;
#if HWY_TARGET <= HWY_AVX2
  const hn::Rebind<hwy::float16_t, D> df16;
  hn::StoreU(hn::BitCast(du16, hn::DemoteTo(df16, value)), du16, to);
#else
  const hn::RebindToSigned<D> di32;
  const auto bits = hn::BitCast(di32, value);
  const auto magnitude = hn::And(bits, hn::Set(di32, 0x7FFFFFFF));
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(di32, 0x8000));
  // Rounded by an addition: of half an ulp to the bits, or, where the result is
  // subnormal, of a number so large that the sum's last bit is the result's.
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di32, 1));
  const auto rebias = hn::Set(di32, ((15 - 127) * (1 << 23)) + 0xFFF);
  const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(magnitude, rebias), odd));
  const auto large = hn::Set(di32, (127 - 15 + 23 - 10 + 1) << 23);
  const auto subnormal =
      hn::Sub(hn::BitCast(di32, hn::Add(hn::BitCast(d, magnitude), hn::BitCast(d, large))), large);
  const auto nan = hn::Gt(magnitude, hn::Set(di32, 0x7F800000));
  const auto overflow = hn::IfThenElse(nan, hn::Set(di32, 0x7E00), hn::Set(di32, 0x7C00));
  const auto finite =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(di32, 113 << 23)), subnormal, normal);
  const auto rounded =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(di32, (127 + 16) << 23)), finite, overflow);
  hn::StoreU(hn::DemoteTo(du16, hn::Or(rounded, sign)), du16, to);
#endif
}

template <class D>
HWY_INLINE void StoreBFloat16(D /*d*/, hn::VFromD<D> value, uint16_t* to) {
  const hn::RebindToUnsigned<D> du32;
  const hn::RebindToSigned<D> di32;
  const hn::Rebind<uint16_t, D> du16;
  const auto bits = hn::BitCast(du32, value);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(du32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du32, 0x7FFF)), odd));
  // Rounding would carry a NaN's bits into the exponent and beyond.
  const auto nan = hn::RebindMask(du32, hn::IsNaN(value));
  const auto quiet = hn::Or(high, hn::Set(du32, 0x40));
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di32, hn::IfThenElse(nan, quiet, rounded))), du16, to);
}

// from[first, first + count) as C: where they lie, if they are such already and
// whole vectors, else in `block`, with zeros up to the end of the last vector.
template <typename C>
HWY_INLINE const C* LoadBlock(
    Real type, const void* from, int64_t first, int64_t count, RealBlock<C>* block) {
  const hn::ScalableTag<C> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t tail = count % lanes;
  if constexpr (sizeof(C) == sizeof(float)) {
    if (type != Real::kFloat32) {
      HWY_ALIGN uint16_t bits[kRealBlock];
      const auto* in = static_cast<const uint16_t*>(from) + first;
      if (tail != 0) {
        std::memcpy(bits, in, static_cast<size_t>(count) * sizeof(uint16_t));
        std::memset(bits + count, 0, static_cast<size_t>(lanes - tail) * sizeof(uint16_t));
        in = bits;
      }
      ForEachVector<C>(count, [&](auto df, int64_t i) HWY_ATTR {
        const auto value =
            type == Real::kFloat16 ? LoadFloat16(df, in + i) : LoadBFloat16(df, in + i);
        hn::Store(value, df, block->at + i);
      });
      return block->at;
    }
  }
  const C* const in = static_cast<const C*>(from) + first;
  if (tail == 0) return in;
  std::memcpy(block->at, in, static_cast<size_t>(count) * sizeof(C));
  std::memset(block->at + count, 0, static_cast<size_t>(lanes - tail) * sizeof(C));
  return block->at;
}

// to[first, first + count) from block[0, count).
template <typename C>
HWY_INLINE void StoreBlock(
    Real type, const C* block, int64_t first, int64_t count, void* to, Stores stores) {
  HWY_ALIGN uint16_t bits[kRealBlock];
  const void* rounded = block;
  if constexpr (sizeof(C) == sizeof(float)) {
    if (type != Real::kFloat32) {
      ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
        const auto value = hn::LoadU(d, block + i);
        if (type == Real::kFloat16) {
          StoreFloat16(d, value, bits + i);
        } else {
          StoreBFloat16(d, value, bits + i);
        }
      });
      rounded = bits;
    }
  }
  const int64_t bytes = RealBytes(type);
  CopyBytes(
      static_cast<const uint8_t*>(rounded), count * bytes,
      static_cast<uint8_t*>(to) + first * bytes, stores);
}

// The same for any count, to and from memory of Cs.
template <typename C>
HWY_INLINE void LoadSpan(Real type, const void* from, int64_t first, int64_t count, C* to) {
  RealBlock<C> block;
  for (int64_t i = 0; i < count; i += kRealBlock) {
    const int64_t in_block = std::min(kRealBlock, count - i);
    const C* const loaded = LoadBlock(type, from, first + i, in_block, &block);
    std::copy(loaded, loaded + in_block, to + i);
  }
}

template <typename C>
HWY_INLINE void StoreSpan(Real type, const C* from, int64_t first, int64_t count, void* to) {
  constexpr Real kType = sizeof(C) == sizeof(float) ? Real::kFloat32 : Real::kFloat64;
  RealBlock<C> block;
  for (int64_t i = 0; i < count; i += kRealBlock) {
    const int64_t in_block = std::min(kRealBlock, count - i);
    const C* const loaded = LoadBlock(kType, from, i, in_block, &block);
    StoreBlock(type, loaded, first + i, in_block, to, Stores::kCached);
  }
}

// Functions of Highway's that give no NaN for a NaN, mended.
template <class D>
HWY_INLINE hn::VFromD<D> KeepNaN(D /*d*/, hn::VFromD<D> x, hn::VFromD<D> result) {
  return hn::IfThenElse(hn::IsNaN(x), x, result);
}

// exp(x) for x <= 0; 0 where x is far below.
template <class D>
HWY_INLINE hn::VFromD<D> ExpOfNegative(D d, hn::VFromD<D> x) {
  return KeepNaN(d, x, hn::Exp(d, x));
}

// 1 / (1 + exp(-x)), and its derivative, which does not lose its last bits where
// 1 - sigmoid(x) would.
template <class D>
HWY_INLINE hn::VFromD<D> Sigmoid(D d, hn::VFromD<D> x, hn::VFromD<D>* slope) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto e = hn::Exp(d, hn::Neg(hn::Abs(x)));
  const auto above = hn::Div(one, hn::Add(one, e));  // of |x|
  const auto below = hn::Mul(e, above);              // of -|x|
  *slope = KeepNaN(d, x, hn::Mul(above, below));
  return KeepNaN(d, x, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), below, above));
}

template <class D>
HWY_INLINE hn::VFromD<D> Sigmoid(D d, hn::VFromD<D> x) {
  hn::VFromD<D> slope;
  return Sigmoid(d, x, &slope);
}

template <class D, class V>
HWY_INLINE hn::VFromD<D> ToDouble(D d, V v) {
  if constexpr (sizeof(hn::TFromV<V>) == sizeof(double)) {
    return v;
  } else {
    return hn::PromoteTo(d, v);
  }
}

// Sum of the products a[i] * b[i], i < count, in double and in an order that
// `count` alone gives; both are readable up to the next whole vector, where the
// products of what follows are 0.
template <typename C>
HWY_INLINE double SumOfProducts(const C* a, const C* b, int64_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<C, hn::ScalableTag<double>> dc;
  const auto step = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d);
  auto odd = hn::Zero(d);
  const auto product = [&](int64_t i) HWY_ATTR {
    return hn::Mul(ToDouble(d, hn::LoadU(dc, a + i)), ToDouble(d, hn::LoadU(dc, b + i)));
  };
  int64_t i = 0;
  for (; i + step < count; i += 2 * step) {
    even = hn::Add(even, product(i));
    odd = hn::Add(odd, product(i + step));
  }
  if (i < count) even = hn::Add(even, product(i));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

// sums[i] += a[i] * b[i], i < count: of doubles for every C.
template <typename C>
HWY_INLINE void AddProducts(const C* a, const C* b, int64_t count, double* sums) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<C, hn::ScalableTag<double>> dc;
  const auto step = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += step) {
    const auto product =
        hn::Mul(ToDouble(d, hn::LoadU(dc, a + i)), ToDouble(d, hn::LoadU(dc, b + i)));
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i), product), d, sums + i);
  }
}

// block[0, count) = exp(block[i]), of numbers that are not above 0.
template <typename C>
HWY_INLINE void ExpBlock(int64_t count, RealBlock<C>* block) {
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::Store(ExpOfNegative(d, hn::Load(d, block->at + i)), d, block->at + i);
  });
}

// Each of `rows` rows of a few columns becomes its softmax; as many as a block holds
// share its exponentials, for which a row alone would leave vectors empty.
template <typename C>
HWY_INLINE void SoftmaxShortRows(C* row, int64_t rows, int64_t columns) {
  const int64_t at_once = kRealBlock / columns;
  RealBlock<C> block;
  std::fill(block.at, block.at + kRealBlock, C{0});
  while (rows > 0) {
    const int64_t take = std::min(rows, at_once);
    for (int64_t r = 0; r < take; ++r) {
      const C* const in = row + r * columns;
      C largest = -std::numeric_limits<C>::infinity();
      for (int64_t j = 0; j < columns; ++j) largest = std::max(largest, in[j]);
      for (int64_t j = 0; j < columns; ++j) block.at[r * columns + j] = in[j] - largest;
    }
    ExpBlock(take * columns, &block);
    for (int64_t r = 0; r < take; ++r) {
      const C* const e = block.at + r * columns;
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j) sum += double{e[j]};
      const auto scale = static_cast<C>(1 / sum);
      for (int64_t j = 0; j < columns; ++j) row[r * columns + j] = e[j] * scale;
    }
    row += take * columns;
    rows -= take;
  }
}

template <typename C>
HWY_INLINE void SoftmaxLongRow(C* row, int64_t columns) {
  constexpr C kMinusInfinity = -std::numeric_limits<C>::infinity();
  const hn::ScalableTag<C> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto greatest = hn::Set(d, kMinusInfinity);
  int64_t i = 0;
  for (; i + lanes <= columns; i += lanes) greatest = hn::Max(hn::LoadU(d, row + i), greatest);
  C largest = hn::GetLane(hn::MaxOfLanes(d, greatest));
  for (; i < columns; ++i) largest = std::max(largest, row[i]);
  double sum = 0;
  RealBlock<C> block;
  for (int64_t first = 0; first < columns; first += kRealBlock) {
    const int64_t count = std::min(kRealBlock, columns - first);
    for (i = 0; i < count; ++i) block.at[i] = row[first + i] - largest;
    const int64_t end = (count + lanes - 1) / lanes * lanes;
    std::fill(block.at + count, block.at + end, kMinusInfinity);
    ExpBlock(count, &block);
    auto sums = hn::Zero(d);
    ForEachVector<C>(count, [&](auto /*d*/, int64_t j) HWY_ATTR {
      sums = hn::Add(sums, hn::Load(d, block.at + j));
    });
    sum += double{hn::GetLane(hn::SumOfLanes(d, sums))};
    std::copy(block.at, block.at + count, row + first);
  }
  const auto scale = static_cast<C>(1 / sum);
  for (i = 0; i < columns; ++i) row[i] *= scale;
}

// Each of `rows` rows becomes its softmax.
template <typename C>
HWY_INLINE void SoftmaxRows(C* row, int64_t rows, int64_t columns) {
  if (columns <= 32) {
    if (columns > 0) SoftmaxShortRows(row, rows, columns);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) SoftmaxLongRow(row + r * columns, columns);
}

// Rows that are worth going through at once, however short they are.
HWY_INLINE int64_t RowsAtOnce(int64_t columns) {
  return columns >= kRealBlock ? 1 : kRealBlock / std::max<int64_t>(columns, 1);
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
