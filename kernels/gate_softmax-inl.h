// Per-target code of kernels/gate.h: rows of Z of kSoftmax, soft or hard, with noise or
// without it.

#if defined(CAFFE2OP_MASK_KERNELS_GATE_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_SOFTMAX_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_SOFTMAX_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/gate.h"
#include "kernels/random-inl.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// z[0, count) += -log(-log u) of the numbers of the places [first, first + count).
template <typename C>
HWY_NOINLINE void AddGumbelNoise(RandomStream stream, int64_t first, int64_t count, C* z) {
  const hn::ScalableTag<C> d;
  const int64_t lanes = LanesOf(d);
  HWY_ALIGN uint32_t numbers[kRandomGroup];
  RealBlock<C> noise;
  while (count > 0) {
    const int64_t begin = first % kRandomGroup;
    const int64_t take = std::min(kRandomGroup - begin, count);
    RandomGroup(stream, first / kRandomGroup, numbers);
    for (int64_t i = begin - begin % lanes; i < begin + take; i += lanes) {
      hn::Store(RandomGumbel(d, numbers + i), d, noise.at + i);
    }
    for (int64_t i = 0; i < take; i += lanes) {
      const int64_t some = std::min(lanes, take - i);
      const auto noisy = hn::Add(LoadSome(d, z + i, some), LoadSome(d, noise.at + begin + i, some));
      StoreSome(d, noisy, z + i, some);
    }
    first += take;
    count -= take;
    z += take;
  }
}

// to[0, count) /= tau.
template <typename C>
HWY_NOINLINE void DivideBy(double tau, int64_t count, C* to) {
  if (tau == 1) return;
  const hn::ScalableTag<C> d;
  const auto divisor = hn::Set(d, static_cast<C>(tau));
  for (int64_t i = 0; i < count; i += LanesOf(d)) {
    const int64_t some = std::min(LanesOf(d), count - i);
    StoreSome(d, hn::Div(LoadSome(d, to + i, some), divisor), to + i, some);
  }
}

// What the softmax of rows of Z, its entries [first, first + count), is taken of.
template <typename C>
HWY_INLINE void LoadLogits(
    const GateFunction& function, const GateTensors& tensors, int64_t first, int64_t count,
    C* logits) {
  LoadSpan(tensors.type, tensors.z, first, count, logits);
  if (function.noisy) AddGumbelNoise(function.noise, first, count, logits);
  DivideBy(function.tau, count, logits);
}

// A row becomes 1 at its greatest, the first of equals, and 0 elsewhere; or NaN where its softmax
// is.
template <typename C>
HWY_NOINLINE void ChooseRow(C* row, int64_t columns) {
  const hn::ScalableTag<C> d;
  const auto none = hn::Set(d, -std::numeric_limits<C>::infinity());
  auto greatest = none;
  auto invalid = hn::IsNaN(none);
  for (int64_t i = 0; i < columns; i += LanesOf(d)) {
    const int64_t count = std::min(LanesOf(d), columns - i);
    const auto in_row = hn::FirstN(d, static_cast<size_t>(count));
    const auto logits = hn::IfThenElse(in_row, LoadSome(d, row + i, count), none);
    invalid = hn::Or(invalid, hn::IsNaN(logits));
    greatest = hn::Max(logits, greatest);
  }
  const C at_most = hn::GetLane(hn::MaxOfLanes(d, greatest));
  if (!hn::AllFalse(d, invalid) || !std::isfinite(at_most)) {
    std::fill(row, row + columns, std::numeric_limits<C>::quiet_NaN());
    return;
  }
  C* const chosen = std::find(row, row + columns, at_most);
  std::fill(row, row + columns, C{0});
  *chosen = 1;
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
