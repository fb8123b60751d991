#pragma once

#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// BernoulliMask(Z) -> mask, log_prob
class BernoulliMaskOp final : public MaskOperator {
 public:
  BernoulliMaskOp(const OperatorDef& def, Workspace* ws)
      : MaskOperator(WithDistinctOutputs(def), ws) {}

  bool RunOnDevice() override;

 private:
  uint64_t run_ = 0;
};

// BernoulliMaskGradient(Z, mask, d_log_prob) -> d_Z
class BernoulliMaskGradientOp final : public MaskOperator {
 public:
  using MaskOperator::MaskOperator;

  bool RunOnDevice() override;
};

void FillBernoulliMaskSchema(OpSchema& schema);
void FillBernoulliMaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
