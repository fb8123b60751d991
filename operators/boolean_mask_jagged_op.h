#pragma once

#include "caffe2/core/operator.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

// BooleanMaskJagged(values, lengths, mask) -> masked_values, masked_lengths
class BooleanMaskJaggedOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BooleanMaskJaggedOp(const OperatorDef& def, Workspace* ws)
      : Operator<CPUContext>(WithDistinctOutputs(def), ws) {}

  bool RunOnDevice() override;

  // Index: the type of lengths and of masked_lengths.
  template <typename Index>
  bool DoRunWithType();
};

void FillBooleanMaskJaggedSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
