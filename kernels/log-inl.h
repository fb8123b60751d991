// Per-target logarithms of ratios, such as the odds of what is drawn; to be
// included by kernels/*-inl.h.

#if defined(CAFFE2OP_MASK_KERNELS_LOG_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_LOG_INL_H_
#undef CAFFE2OP_MASK_KERNELS_LOG_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_LOG_INL_H_
#endif

#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// log((1 + t) / (1 - t)) of floats, where |t| <= 1/3: 2 t + t^3 q(t^2), q fitted to
// the least relative error, 5e-9.
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V TwiceAtanh(D d, V t) {
  const V s = hn::Mul(t, t);
  V q = hn::MulAdd(hn::Set(d, 0.28024465F), s, hn::Set(d, 0.27999139F));
  q = hn::MulAdd(q, s, hn::Set(d, 0.400217F));
  q = hn::MulAdd(q, s, hn::Set(d, 0.6666641F));
  return hn::MulAdd(hn::Mul(q, s), t, hn::Add(t, t));
}

// log(a / b) of positive normal numbers.
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V LogRatio(D d, V a, V b) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return hn::Log(d, hn::Div(a, b));
  } else {
    // 2^n is near a / b by what their bits tell, to a factor of 1.51. The difference
    // of what is left is exact.
    const hn::RebindToSigned<D> di;
    const auto difference = hn::Sub(hn::BitCast(di, a), hn::BitCast(di, b));
    const auto n = hn::ShiftRight<23>(hn::Add(difference, hn::Set(di, 1 << 22)));
    const V near = hn::BitCast(d, hn::Add(hn::BitCast(di, b), hn::ShiftLeft<23>(n)));
    const V t = hn::Div(hn::Sub(a, near), hn::Add(a, near));
    // The first part of ln 2 has so few bits that its product with n is exact.
    const V power = hn::ConvertTo(d, n);
    const V rest = hn::MulAdd(power, hn::Set(d, -2.12194440e-4F), TwiceAtanh(d, t));
    return hn::MulAdd(power, hn::Set(d, 0.693359375F), rest);
  }
}

// log(1 + x) for 0 <= x <= 1, and of NaN NaN.
template <class D, class V = hn::VFromD<D>>
HWY_INLINE V LogOnePlus(D d, V x) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    // Highway's logarithm of NaN is a number.
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Log1p(d, x));
  } else {
    return TwiceAtanh(d, hn::Div(x, hn::Add(x, hn::Set(d, 2.0F))));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
