#pragma once

#include "caffe2/core/operator.h"
#include "kernels/mixture_gate.h"

namespace caffe2 {
namespace mask {

// MixtureGate(E, Z [, bias]) -> Y [, G]
class MixtureGateOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MixtureGateOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const int64_t top_k_;
  const bool renormalize_;
};

// MixtureGateGradient(E, Z [, bias] [, d_Y] [, d_G]) -> d_E, d_Z
class MixtureGateGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  MixtureGateGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const int64_t top_k_;
  const bool renormalize_;
  const bool has_bias_;
  const bool has_d_y_;
};

void FillMixtureGateSchema(OpSchema& schema);
void FillMixtureGateGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
