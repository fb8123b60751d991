#pragma once

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// BooleanMaskLengths(lengths, mask) -> masked_lengths
class BooleanMaskLengthsOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  using Operator<CPUContext>::Operator;

  bool RunOnDevice() override;

 private:
  // Index: the type of masked_lengths, and of lengths that are not rows.
  template <typename Index>
  bool CountSegments(const Tensor& lengths, const Tensor& mask);
  template <typename Index>
  bool CountRows(const Tensor& rows, const Tensor& mask);
};

void FillBooleanMaskLengthsSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
