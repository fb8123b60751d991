#pragma once

#include "caffe2/core/operator.h"
#include "kernels/gate.h"

namespace caffe2 {
namespace mask {

// Gate(X, Z [, threshold]) -> Y [, G] [, noise]
class GateOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  GateOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  caffe2op_mask::GateFunction function_;
  uint64_t run_ = 0;
};

// GateGradient(X, Z [, threshold] [, noise] [, d_Y] [, d_G]) -> d_X, d_Z [, d_threshold]
class GateGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  GateGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  caffe2op_mask::GateFunction function_;
  const bool has_threshold_;
  const bool has_d_y_;
};

void FillGateSchema(OpSchema& schema);
void FillGateGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
