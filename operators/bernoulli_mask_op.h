#pragma once

#include "caffe2/core/operator.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

// BernoulliMask(Z) -> mask, log_prob
class BernoulliMaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BernoulliMaskOp(const OperatorDef& def, Workspace* ws)
      : Operator<CPUContext>(WithDistinctOutputs(def), ws) {}

  bool RunOnDevice() override;

 private:
  uint64_t run_ = 0;
};

// BernoulliMaskGradient(Z, mask, d_log_prob) -> d_Z
class BernoulliMaskGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  using Operator<CPUContext>::Operator;

  bool RunOnDevice() override;
};

void FillBernoulliMaskSchema(OpSchema& schema);
void FillBernoulliMaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
