#include "kernels/real.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/real.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/real-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace {

template <typename From, typename To>
HWY_INLINE void Convert(const From* HWY_RESTRICT from, int64_t count, To* HWY_RESTRICT to) {
  const hn::ScalableTag<float> d;
  int64_t i = 0;
  for (; i + LanesOf(d) <= count; i += LanesOf(d)) StoreReal(d, LoadReal(d, from + i), to + i);
  if (i < count) StorePart(d, LoadPart(d, from + i, count - i), to + i, count - i);
}

// Of names of their own: what is overloaded or a template cannot be exported.
void WidenFloat16(const Float16* from, int64_t count, float* to) {
  Convert(from, count, to);
}

void WidenBFloat16(const BFloat16* from, int64_t count, float* to) {
  Convert(from, count, to);
}

void NarrowFloat16(const float* from, int64_t count, Float16* to) {
  Convert(from, count, to);
}

void NarrowBFloat16(const float* from, int64_t count, BFloat16* to) {
  Convert(from, count, to);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(WidenFloat16);
HWY_EXPORT(WidenBFloat16);
HWY_EXPORT(NarrowFloat16);
HWY_EXPORT(NarrowBFloat16);

}  // namespace

void ToFloat(const Float16* from, int64_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(WidenFloat16)(from, count, to);
}

void ToFloat(const BFloat16* from, int64_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(WidenBFloat16)(from, count, to);
}

void FromFloat(const float* from, int64_t count, Float16* to) {
  HWY_DYNAMIC_DISPATCH(NarrowFloat16)(from, count, to);
}

void FromFloat(const float* from, int64_t count, BFloat16* to) {
  HWY_DYNAMIC_DISPATCH(NarrowBFloat16)(from, count, to);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
