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

// What BooleanUnmask and its gradient share: pairs of inputs and how they are read.
class UnmaskOperator : public MaskOperator {
 public:
  UnmaskOperator(const OperatorDef& def, Workspace* ws);

 protected:
  // Checks the pairs that the inputs begin with, and binds them.
  UnmaskViews Bind(const char* op, int pairs, bool has_fill);
  const caffe2op_mask::UnmaskBound& bound() const { return bound_; }

 private:
  const caffe2op_mask::UnmaskLayout layout_;
  caffe2op_mask::UnmaskBound bound_;
};

// BooleanUnmask(mask_1, values_1, .., mask_k, values_k) -> data
class BooleanUnmaskOp final : public UnmaskOperator {
 public:
  BooleanUnmaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Unmask();
  void Expand(const UnmaskViews& views, uint64_t fill_pattern);
  void ExpandByCopy(const UnmaskViews& views);

  const std::optional<caffe2op_mask::Number> fill_val_;
};

// BooleanUnmaskGradient(mask_1, values_1, .., mask_k, values_k, d_data) -> d_values_1, ..,
// d_values_k
class BooleanUnmaskGradientOp final : public UnmaskOperator {
 public:
  BooleanUnmaskGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

 private:
  bool Split();
};

void FillBooleanUnmaskSchema(OpSchema& schema);
void FillBooleanUnmaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
