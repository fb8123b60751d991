#include "kernels/mixture_gate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mixture_gate.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/mixture_gate-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(RunMixture);
HWY_EXPORT(RunMixtureGradient);

}  // namespace

void MixtureGate(const MixtureTensors& tensors, void* y, void* g, ParallelFor parallel_for) {
  HWY_DYNAMIC_DISPATCH(RunMixture)(tensors, y, g, parallel_for);
}

void MixtureGateGradient(
    const MixtureTensors& tensors, const void* d_y, const void* d_g, void* d_e, void* d_z,
    ParallelFor parallel_for) {
  HWY_DYNAMIC_DISPATCH(RunMixtureGradient)(tensors, d_y, d_g, d_e, d_z, parallel_for);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
