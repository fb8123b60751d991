#pragma once

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// BooleanMaskJagged(values, lengths, mask) -> masked_values, masked_lengths
class BooleanMaskJaggedOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  using Operator<CPUContext>::Operator;

  bool RunOnDevice() override;

  // Index: the type of lengths and of masked_lengths.
  template <typename Index>
  bool DoRunWithType();
};

void FillBooleanMaskJaggedSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
