#pragma once

#include "contracts/mixture_gate.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// MixtureGate(E, Z [, bias]) -> Y [, G]
class MixtureGateOp final : public MaskOperator {
 public:
  MixtureGateOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const caffe2op_mask::MixtureOptions options_;
};

// MixtureGateGradient(E, Z [, bias] [, d_Y] [, d_G]) -> d_E, d_Z
class MixtureGateGradientOp final : public MaskOperator {
 public:
  MixtureGateGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const caffe2op_mask::MixtureOptions options_;
  const bool has_bias_;
  const bool has_d_y_;
};

void FillMixtureGateSchema(OpSchema& schema);
void FillMixtureGateGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
