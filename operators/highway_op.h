#pragma once

#include "kernels/gate.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// Highway(H, X, Z) -> Y
class HighwayOp final : public MaskOperator {
 public:
  HighwayOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const caffe2op_mask::GateFunction function_;
};

// HighwayGradient(H, X, Z, d_Y) -> d_H, d_X, d_Z
class HighwayGradientOp final : public MaskOperator {
 public:
  HighwayGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  const caffe2op_mask::GateFunction function_;
};

void FillHighwaySchema(OpSchema& schema);
void FillHighwayGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
