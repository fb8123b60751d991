// Per-target code of kernels/real_block.h: blocks are loaded, computed by whole
// vectors and stored. What an element becomes does not depend on where in a block
// it is.

#if defined(CAFFE2OP_MASK_KERNELS_REAL_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_REAL_BLOCK_INL_H_
#undef CAFFE2OP_MASK_KERNELS_REAL_BLOCK_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_REAL_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/exp-inl.h"
#include "kernels/fill-inl.h"
#include "kernels/real-inl.h"
#include "kernels/real_block.h"

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
  for (int64_t i = 0; i < count; i += LanesOf(d)) f(d, i);
}

// Calls f(i, count) for the blocks of `count` entries.
template <class F>
HWY_INLINE void ForEachBlock(int64_t count, const F& f) {
  for (int64_t i = 0; i < count; i += kRealBlock) f(i, std::min(kRealBlock, count - i));
}

// block[0, count) = from[0, count), with zeros up to the end of the last vector.
template <typename T, typename C>
HWY_NOINLINE void WidenBlock(const T* from, int64_t count, RealBlock<C>* block) {
  const hn::ScalableTag<C> d;
  int64_t i = 0;
  for (; i + LanesOf(d) <= count; i += LanesOf(d)) {
    hn::Store(LoadReal(d, from + i), d, block->at + i);
  }
  if (i < count) hn::Store(LoadPart(d, from + i, count - i), d, block->at + i);
}

// to[0, count) = block[0, count), rounded.
template <typename T, typename C>
HWY_NOINLINE void NarrowBlock(const C* block, int64_t count, T* to, Stores stores) {
  HWY_ALIGN T rounded[kRealBlock];
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    StoreReal(d, hn::LoadU(d, block + i), rounded + i);
  });
  CopyBytes(
      reinterpret_cast<const uint8_t*>(rounded), count * static_cast<int64_t>(sizeof(T)),
      reinterpret_cast<uint8_t*>(to), stores);
}

// from[first, first + count) as C: where they lie, if they are such already and
// whole vectors, else in `block`, with zeros up to the end of the last vector.
template <typename C>
HWY_INLINE const C* LoadBlock(
    Real type, const void* from, int64_t first, int64_t count, RealBlock<C>* block) {
  if constexpr (std::is_same<C, float>::value) {
    if (type == Real::kFloat16) {
      WidenBlock(static_cast<const Float16*>(from) + first, count, block);
      return block->at;
    }
    if (type == Real::kBFloat16) {
      WidenBlock(static_cast<const BFloat16*>(from) + first, count, block);
      return block->at;
    }
  }
  const C* const in = static_cast<const C*>(from) + first;
  if (count % LanesOf(hn::ScalableTag<C>()) == 0) return in;
  WidenBlock(in, count, block);
  return block->at;
}

// Where to compute what StoreBlock is to store: in its place, if that is of Cs, whole vectors and
// to stay in the cache, else in `block`. What is there is not aligned.
template <typename C>
HWY_INLINE C* BlockFor(
    Real type, void* to, int64_t first, int64_t count, Stores stores, RealBlock<C>* block) {
  const Real own = sizeof(C) == sizeof(float) ? Real::kFloat32 : Real::kFloat64;
  const bool whole = count % LanesOf(hn::ScalableTag<C>()) == 0;
  if (type != own || !whole || stores != Stores::kCached) return block->at;
  return static_cast<C*>(to) + first;
}

// to[first, first + count) from block[0, count), which is readable up to the next
// whole vector, or is that place itself.
template <typename C>
HWY_NOINLINE void StoreBlock(
    Real type, const C* block, int64_t first, int64_t count, void* to, Stores stores) {
  if constexpr (std::is_same<C, float>::value) {
    if (type == Real::kFloat16) {
      NarrowBlock(block, count, static_cast<Float16*>(to) + first, stores);
      return;
    }
    if (type == Real::kBFloat16) {
      NarrowBlock(block, count, static_cast<BFloat16*>(to) + first, stores);
      return;
    }
  }
  C* const out = static_cast<C*>(to) + first;
  if (block == out) return;
  CopyBytes(
      reinterpret_cast<const uint8_t*>(block), count * static_cast<int64_t>(sizeof(C)),
      reinterpret_cast<uint8_t*>(out), stores);
}

// The same for any count, to and from memory of Cs.
template <typename C>
HWY_NOINLINE void LoadSpan(Real type, const void* from, int64_t first, int64_t count, C* to) {
  RealBlock<C> block;
  ForEachBlock(count, [&](int64_t i, int64_t in_block) HWY_ATTR {
    const C* const loaded = LoadBlock(type, from, first + i, in_block, &block);
    std::copy(loaded, loaded + in_block, to + i);
  });
}

template <typename C>
HWY_NOINLINE void StoreSpan(Real type, const C* from, int64_t first, int64_t count, void* to) {
  constexpr Real kType = sizeof(C) == sizeof(float) ? Real::kFloat32 : Real::kFloat64;
  RealBlock<C> block;
  ForEachBlock(count, [&](int64_t i, int64_t in_block) HWY_ATTR {
    const C* const loaded = LoadBlock(kType, from, i, in_block, &block);
    StoreBlock(type, loaded, first + i, in_block, to, Stores::kCached);
  });
}

// exp(x) for x <= 0.
template <class D>
HWY_INLINE hn::VFromD<D> ExpOfNegative(D d, hn::VFromD<D> x) {
  return ExpOf<true>(d, x, hn::Zero(d));
}

// 1 / (1 + exp(-x)), and its derivative, which does not lose its last bits where
// 1 - sigmoid(x) would.
template <class D>
HWY_INLINE hn::VFromD<D> Sigmoid(D d, hn::VFromD<D> x, hn::VFromD<D>* slope) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto e = ExpOfNegative(d, hn::Neg(hn::Abs(x)));
  const auto above = hn::Div(one, hn::Add(one, e));  // of |x|
  const auto below = hn::Mul(e, above);              // of -|x|
  *slope = hn::Mul(above, below);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), below, above);
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
  const int64_t step = LanesOf(d);
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

// The same whatever follows.
template <typename C>
HWY_INLINE double DotProduct(const C* a, const C* b, int64_t count) {
  const int64_t rest = count % LanesOf(hn::ScalableTag<C>());
  double sum = SumOfProducts(a, b, count - rest);
  for (int64_t i = count - rest; i < count; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// The gradient of what a softmax was taken of, from `d_g`, that of the softmax g, in
// its place.
template <typename C>
HWY_INLINE void SoftmaxGradient(const C* g, int64_t columns, C* d_g) {
  const hn::ScalableTag<C> d;
  const auto weighted = hn::Set(d, static_cast<C>(DotProduct(g, d_g, columns)));
  for (int64_t i = 0; i < columns; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), columns - i);
    const auto difference = hn::Sub(LoadSome(d, d_g + i, count), weighted);
    StoreSome(d, hn::Mul(LoadSome(d, g + i, count), difference), d_g + i, count);
  }
}

// sums[i] += a[i] * b[i], i < count: of doubles for every C.
template <typename C>
HWY_INLINE void AddProducts(const C* a, const C* b, int64_t count, double* sums) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<C, hn::ScalableTag<double>> dc;
  const int64_t step = LanesOf(d);
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
  const hn::ScalableTag<C> d;
  const auto none = hn::Set(d, -std::numeric_limits<C>::infinity());
  const auto lanes_at = [&](int64_t i) HWY_ATTR { return std::min(LanesOf(d), columns - i); };
  // A vector of the row, -inf behind its end.
  const auto load = [&](int64_t i) HWY_ATTR {
    const int64_t count = lanes_at(i);
    if (count == LanesOf(d)) return hn::LoadU(d, row + i);
    const auto in_row = hn::FirstN(d, static_cast<size_t>(count));
    return hn::IfThenElse(in_row, LoadPart(d, row + i, count), none);
  };
  auto greatest = none;
  for (int64_t i = 0; i < columns; i += LanesOf(d)) greatest = hn::Max(load(i), greatest);
  greatest = hn::MaxOfLanes(d, greatest);
  double sum = 0;
  for (int64_t first = 0; first < columns; first += kRealBlock) {
    const int64_t end = std::min(first + kRealBlock, columns);
    auto sums = hn::Zero(d);
    for (int64_t i = first; i < end; i += LanesOf(d)) {
      const auto e = ExpOfNegative(d, hn::Sub(load(i), greatest));
      StoreSome(d, e, row + i, lanes_at(i));
      sums = hn::Add(sums, e);
    }
    sum += double{hn::GetLane(hn::SumOfLanes(d, sums))};
  }
  const auto scale = hn::Set(d, static_cast<C>(1 / sum));
  for (int64_t i = 0; i < columns; i += LanesOf(d)) {
    const int64_t count = lanes_at(i);
    StoreSome(d, hn::Mul(LoadSome(d, row + i, count), scale), row + i, count);
  }
}

// Each of `rows` rows becomes its softmax.
template <typename C>
HWY_NOINLINE void SoftmaxRows(C* row, int64_t rows, int64_t columns) {
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
