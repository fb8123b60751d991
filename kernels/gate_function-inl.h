// Per-target code of kernels/gate.h: the kinds of gates as functions of one vector, which get what
// else they depend on by way of z. Each also gives its derivative, the slope.

#if defined(CAFFE2OP_MASK_KERNELS_GATE_FUNCTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_FUNCTION_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_FUNCTION_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_FUNCTION_INL_H_
#endif

#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

struct SigmoidGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    return Sigmoid(d, z, slope);
  }
};

struct TanhGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    // 1 - tanh^2 as a sigmoid's derivative, which is exact where tanh is near 1.
    Sigmoid(d, hn::Add(z, z), slope);
    *slope = hn::Mul(*slope, hn::Set(d, hn::TFromD<D>{4}));
    return hn::Tanh(d, z);
  }
};

struct ReluGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    const auto closed = hn::Le(z, hn::Zero(d));
    *slope = hn::IfThenZeroElse(closed, hn::Set(d, hn::TFromD<D>{1}));
    return hn::IfThenZeroElse(closed, z);
  }
};

struct HardGate {
  double clip;

  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    using C = hn::TFromD<D>;
    Sigmoid(d, z, slope);
    if (clip > 0) {
      *slope = hn::IfThenZeroElse(hn::Gt(hn::Abs(z), hn::Set(d, static_cast<C>(clip))), *slope);
    }
    return hn::IfThenElseZero(hn::Gt(z, hn::Zero(d)), hn::Set(d, C{1}));
  }
};

struct HardConcreteGate {
  double beta;
  double gamma;
  double zeta;

  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    using C = hn::TFromD<D>;
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, C{1});
    V s_slope;
    const auto s = Sigmoid(d, z, &s_slope);
    const auto stretched =
        hn::MulAdd(s, hn::Set(d, static_cast<C>(zeta - gamma)), hn::Set(d, static_cast<C>(gamma)));
    const auto below = hn::Le(stretched, zero);
    const auto above = hn::Ge(stretched, one);
    *slope = hn::IfThenZeroElse(
        hn::Or(below, above), hn::Mul(s_slope, hn::Set(d, static_cast<C>((zeta - gamma) / beta))));
    return hn::IfThenZeroElse(below, hn::IfThenElse(above, one, stretched));
  }
};

// g and, unless null, slopes of a block.
template <class Function, typename C>
HWY_INLINE void ApplyGate(
    const Function& function, const C* z, int64_t count, C* HWY_RESTRICT g,
    C* HWY_RESTRICT slopes) {
  using V = hn::VFromD<hn::ScalableTag<C>>;
  if (slopes == nullptr) {
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      V slope;
      hn::Store(function(d, hn::LoadU(d, z + i), &slope), d, g + i);
    });
  } else {
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      V slope;
      hn::Store(function(d, hn::LoadU(d, z + i), &slope), d, g + i);
      hn::Store(slope, d, slopes + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
