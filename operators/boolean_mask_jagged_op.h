#pragma once

#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// BooleanMaskJagged(values, lengths, mask) -> masked_values, masked_lengths
class BooleanMaskJaggedOp final : public MaskOperator {
 public:
  BooleanMaskJaggedOp(const OperatorDef& def, Workspace* ws)
      : MaskOperator(WithDistinctOutputs(def), ws) {}

  bool RunOnDevice() override;

  // Index: the type of lengths and of masked_lengths.
  template <typename Index>
  bool DoRunWithType();
};

void FillBooleanMaskJaggedSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
