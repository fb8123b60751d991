#pragma once

#include "caffe2/core/operator.h"
#include "kernels/random_mask.h"

namespace caffe2 {
namespace mask {

// RandomMask(X [, lengths]) -> mask
class RandomMaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  RandomMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  enum class Unit { kElement, kRow, kSpan };

  static Unit ReadUnit(const OperatorDef& def);
  caffe2op_mask::RowLimits Limits();

  const Unit unit_;
  double p_;
  int64_t span_length_;
  int64_t min_masked_;
  uint64_t run_ = 0;
};

void FillRandomMaskSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
