#pragma once

// What Gate and Highway share: `kind` and the arguments that go with it, and the
// shapes of what a gate is applied to.

#include <initializer_list>

#include "caffe2/core/operator.h"
#include "kernels/gate.h"

namespace caffe2 {
namespace mask {

// The gate that a definition asks for by `kind`, one of `kinds`, and by the
// arguments of that kind; throws where one is not what it should be.
caffe2op_mask::GateFunction ReadGateFunction(
    const OperatorDef& def, std::initializer_list<const char*> kinds);

// Whether the kind that a definition asks for is one that draws noise, if it is not a test.
bool MayDrawNoise(const OperatorDef& def);

// The tensors, checked. `x` and `carry`, which may be null, are of one shape, to which
// `z` can be broadcast, as `threshold`, null but for kind = relu, can be to z's.
caffe2op_mask::GateTensors ReadGateTensors(
    const char* op, const Tensor& x, const char* x_name, const Tensor* carry,
    const char* carry_name, const Tensor& z, const Tensor* threshold);

}  // namespace mask
}  // namespace caffe2
