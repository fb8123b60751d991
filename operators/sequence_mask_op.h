#pragma once

#include <optional>
#include <string>

#include "caffe2/core/operator.h"
#include "kernels/functors.h"
#include "operators/arguments.h"
#include "operators/mask_shape.h"

namespace caffe2 {
namespace mask {

// SequenceMask(data [, lengths] [, centers] [, left_pad] | data, mask) -> output
class SequenceMaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  SequenceMaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  // T: what the fill value becomes.
  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  void MaskByShape(uint64_t fill_pattern);
  void MaskByMask(uint64_t fill_pattern);

  int64_t Axis(const char* name, int64_t axis);
  caffe2op_mask::RowIndex IndexRows(
      const char* name, const Tensor& index, int64_t axis, int64_t rows);

  const std::string mode_;
  const std::optional<MaskShape> shape_;  // none with mode = mask
  const int64_t axis_;
  const std::optional<int64_t> batch_;
  const std::optional<int64_t> repeat_from_axis_;
  const std::string lengths_of_;
  const bool grad_;
  const Number fill_val_;
};

void FillSequenceMaskSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
