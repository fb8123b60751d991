#pragma once

#include "contracts/boolean_mask_lengths.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// BooleanMaskLengths(lengths, mask) -> masked_lengths
class BooleanMaskLengthsOp final : public MaskOperator {
 public:
  using MaskOperator::MaskOperator;

  bool RunOnDevice() override;

  // Index: the type of masked_lengths, and of lengths that are not rows.
  template <typename Index>
  bool DoRunWithType(const caffe2op_mask::CountedMask& counted);
};

void FillBooleanMaskLengthsSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
