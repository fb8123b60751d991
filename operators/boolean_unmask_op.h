#pragma once

#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/boolean_unmask.h"
#include "operators/arguments.h"

namespace caffe2 {
namespace mask {

// The masks and values of BooleanUnmask, checked: shared by the operator and
// its gradient.
class UnmaskInputs {
 public:
  explicit UnmaskInputs(const OperatorDef& def);

  // `masks` and `values` pair up. Throws where their shapes do not go together,
  // or a position is without an owner and `has_fill` is false.
  void Read(at::ArrayRef<const Tensor*> masks, at::ArrayRef<const Tensor*> values, bool has_fill);

  int64_t k() const { return static_cast<int64_t>(masks_.size()); }
  int64_t entries() const { return entries_; }
  const caffe2op_mask::MaskedRows* masks() const { return masks_.data(); }
  int64_t row() const { return row_; }                                    // elements of a row
  const std::vector<int64_t>& data_sizes() const { return data_sizes_; }  // mask + row

 private:
  enum class Layout { kAuto, kCompact, kDense };

  at::IntArrayRef RowSizes(size_t i, const Tensor& mask, const Tensor& values);

  const std::string op_;
  Layout layout_;
  std::vector<caffe2op_mask::MaskedRows> masks_;
  std::vector<int64_t> offsets_;
  int64_t entries_ = 0;
  int64_t row_ = 0;
  std::vector<int64_t> data_sizes_;
};

// BooleanUnmask(mask_1, values_1, .., mask_k, values_k) -> data
class BooleanUnmaskOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BooleanUnmaskOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  // T: what the fill value becomes.
  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  void Expand(uint64_t fill_pattern);
  void ExpandByCopy();

  const bool has_fill_;
  const Number fill_val_;
  UnmaskInputs inputs_;
};

// BooleanUnmaskGradient(mask_1, values_1, .., mask_k, values_k, d_data) -> d_values_1, ..,
// d_values_k
class BooleanUnmaskGradientOp final : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  BooleanUnmaskGradientOp(const OperatorDef& def, Workspace* ws);

  bool RunOnDevice() override;

  template <typename T>
  bool DoRunWithType();
  bool DoRunWithOtherType();

 private:
  UnmaskInputs inputs_;
};

void FillBooleanUnmaskSchema(OpSchema& schema);
void FillBooleanUnmaskGradientSchema(OpSchema& schema);

}  // namespace mask
}  // namespace caffe2
