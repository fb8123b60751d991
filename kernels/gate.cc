#include "kernels/gate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gate.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/gate-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(RunGate);
HWY_EXPORT(RunGateGradient);

}  // namespace

void Gate(
    const GateFunction& function, const GateTensors& tensors, void* y, void* g,
    ParallelFor parallel_for) {
  HWY_DYNAMIC_DISPATCH(RunGate)(function, tensors, y, g, parallel_for);
}

void GateGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  HWY_DYNAMIC_DISPATCH(RunGateGradient)(function, tensors, gradients, parallel_for);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
