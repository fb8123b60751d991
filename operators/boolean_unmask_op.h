#pragma once

#include "contracts/boolean_unmask.h"
#include "operators/arguments.h"
#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

// Inputs of which each mask is followed by its values, as contracts take them.
struct UnmaskViews {
  c10::SmallVector<caffe2op_mask::TensorView, 4> masks;
  c10::SmallVector<caffe2op_mask::TensorView, 4> values;
};

// BooleanUnmask(mask_1, values_1, .., mask_k, values_k) -> data
class BooleanUnmaskOp final : public MaskOperator {
 public:
  BooleanUnmaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Unmask();
  void Expand(const UnmaskViews& views);
  void ExpandByCopy(const UnmaskViews& views);

  const caffe2op_mask::UnmaskLayout layout_;
  const std::optional<caffe2op_mask::Number> fill_val_;
  caffe2op_mask::UnmaskBound bound_;
};

// BooleanUnmaskGradient(mask_1, values_1, .., mask_k, values_k, d_data) -> d_values_1, ..,
// d_values_k
class BooleanUnmaskGradientOp final : public MaskOperator {
 public:
  BooleanUnmaskGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Split();

  const caffe2op_mask::UnmaskLayout layout_;
  caffe2op_mask::UnmaskBound bound_;
};

void FillBooleanUnmaskSchema(OpSchema& schema);
void FillBooleanUnmaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
