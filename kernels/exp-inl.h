// Per-target exponentials, of scores and of logits; to be included by
// kernels/*-inl.h.

#if defined(CAFFE2OP_MASK_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_EXP_INL_H_
#undef CAFFE2OP_MASK_KERNELS_EXP_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_EXP_INL_H_
#endif

#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(x + low), where x is at most 88 and |low| at most half an ulp of x; -inf gives
// 0, and NaN gives NaN.
//
// double: by Highway, to 1 ulp.
// float: x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) by a polynomial fitted to
// the least relative error: 0.84 ulp with the rounding of its steps. What would be
// below the normal numbers is 0 unless kSubnormal.
template <bool kSubnormal, class D, class V = hn::VFromD<D>>
HWY_INLINE V ExpOf(D d, V x, V low) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    const V e = hn::Exp(d, x);
    // Highway's exp(NaN) is 0.
    const V exact = hn::IfThenElse(hn::IsNaN(x), x, hn::MulAdd(e, low, e));
    return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -745.2)), exact);
  } else {
    const hn::RebindToSigned<D> di;
    const V n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504088896341F)));
    // The first part of ln 2 has so few bits that its product with n is exact.
    V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375F), x);
    r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4F), r);
    r = hn::Add(r, low);
    V p = hn::MulAdd(hn::Set(d, 0.0013814467F), r, hn::Set(d, 0.008368781F));
    p = hn::MulAdd(p, r, hn::Set(d, 0.041668393F));
    p = hn::MulAdd(p, r, hn::Set(d, 0.1666652F));
    p = hn::MulAdd(p, r, hn::Set(d, 0.49999994F));
    p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0F));
    const auto power_of_2 = [&](hn::VFromD<decltype(di)> exponent) HWY_ATTR {
      return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(di, 127))));
    };
    auto exponent = hn::NearestInt(n);
    V least = hn::Set(d, -87.3365F);
    if constexpr (kSubnormal) {
      const auto normal = hn::Max(exponent, hn::Set(di, -126));
      p = hn::Mul(p, power_of_2(hn::Sub(exponent, normal)));
      exponent = normal;
      least = hn::Set(d, -104.0F);
    }
    return hn::IfThenZeroElse(hn::Lt(x, least), hn::Mul(p, power_of_2(exponent)));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
