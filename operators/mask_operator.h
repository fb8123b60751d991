#pragma once

// The way from Caffe2 to contracts and back, which all operators go.

#include "caffe2/core/operator.h"
#include "contracts/error.h"
#include "contracts/tensor_view.h"

namespace caffe2 {
namespace mask {

// f(), where what a contract throws becomes the runtime's own error.
template <class F>
auto Checked(const F& f) {
  try {
    return f();
  } catch (const caffe2op_mask::ContractError& error) {
    CAFFE_THROW(error.what());
  }
}

// The definition, which throws where one blob is named for two outputs: what is written to the
// first would be lost, and its memory may be gone by then.
const OperatorDef& WithDistinctOutputs(const OperatorDef& def);

// The runtime's type for one of ours, which is not kOther.
TypeMeta MetaOf(caffe2op_mask::ElementType type);

inline at::IntArrayRef ArrayOf(caffe2op_mask::Sizes sizes) {
  return {sizes.data(), static_cast<size_t>(sizes.rank())};
}

// For inference of shapes: no dims where they are unknown.
caffe2op_mask::Dims DimsOf(const TensorShape& shape);
void SetDims(caffe2op_mask::Sizes sizes, TensorShape* shape);

class MaskOperator : public Operator<CPUContext> {
 public:
  USE_OPERATOR_FUNCTIONS(CPUContext);
  using Operator<CPUContext>::Operator;

 protected:
  // An input as contracts see it; throws where it has a shape, but no data.
  caffe2op_mask::TensorView View(int input);
  // The same of one whose data is not read, and need not be there.
  caffe2op_mask::TensorView Shape(int input);

  caffe2op_mask::Sizes SizesOf(int input) {
    const auto sizes = Input(input).sizes();
    return {sizes.data(), static_cast<int64_t>(sizes.size())};
  }

  // The memory of an output of these sizes.
  void* Make(int output, caffe2op_mask::Sizes sizes, TypeMeta type) {
    return Output(output, ArrayOf(sizes), at::dtype(type))->raw_mutable_data(type);
  }
  void* MakeLike(int output, int input) {
    return Make(output, SizesOf(input), Input(input).dtype());
  }
};

}  // namespace mask
}  // namespace caffe2
