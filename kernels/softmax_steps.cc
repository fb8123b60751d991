#include "kernels/softmax_steps.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax_steps.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/softmax_steps-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(SoftmaxStepsOf);

}  // namespace

const SoftmaxSteps& SoftmaxStepsOf(Real type) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxStepsOf)(type);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
