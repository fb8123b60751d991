#pragma once

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// RandomMask(X) -> mask
class RandomMaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  RandomMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  enum class Unit { kElement, kRow, kSpan };

  static Unit ReadUnit(const OperatorDef& def);

  const Unit unit_;
  double p_;
  int64_t span_length_;
  uint64_t run_ = 0;
};

void FillRandomMaskSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
