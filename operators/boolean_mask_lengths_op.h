#pragma once

#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/boolean_mask_lengths.h"

namespace caffe2 {
namespace mask {

// BooleanMaskLengths(lengths, mask) -> masked_lengths
class BooleanMaskLengthsOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  using Operator<CPUContext>::Operator;

  bool RunOnDevice() override;

  // Index: the type of lengths and of masked_lengths.
  template <typename Index>
  bool DoRunWithType();

 private:
  template <typename Index>
  bool CountRows();

  std::vector<caffe2op_mask::GroupStart> starts_;
};

void FillBooleanMaskLengthsSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
