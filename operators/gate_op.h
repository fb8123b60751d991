#pragma once

#include "contracts/gate.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// The options of Gate and Highway.
caffe2op_mask::GateOptions ReadGateOptions(const OperatorDef& def);

// Gate(X, Z [, threshold]) -> Y [, G] [, noise]
class GateOp final : public MaskOperator {
 public:
  GateOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  caffe2op_mask::GateFunction function_;
  uint64_t run_ = 0;
};

// GateGradient(X, Z [, threshold] [, noise] [, d_Y] [, d_G]) -> d_X, d_Z [, d_threshold]
class GateGradientOp final : public MaskOperator {
 public:
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
