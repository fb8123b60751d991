#pragma once

// The way from PyTorch to contracts and back. Of libtorch only its stable ABI is named, so that one
// build serves every release from 2.10 on.

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>

#include "contracts/error.h"
#include "contracts/tensor_view.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {
namespace torch_ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Throws unless the tensor is a dense one on a CPU.
void CheckPlace(const char* op, const char* name, const Tensor& tensor);

// An input as contracts see it, which keeps its memory alive. One that is not contiguous is copied.
class Input {
 public:
  // One that was not given.
  Input() = default;
  Input(const char* op, const char* name, const Tensor& tensor);
  Input(const char* op, const char* name, const std::optional<Tensor>& tensor) {
    if (tensor) *this = Input(op, name, *tensor);
  }

  const TensorView& operator*() const { return view_; }
  const TensorView* operator->() const { return &view_; }
  // Null where it was not given.
  const TensorView* get() const { return tensor_ ? &view_ : nullptr; }
  ScalarType scalar_type() const { return scalar_type_; }

 private:
  std::optional<Tensor> tensor_;
  ScalarType scalar_type_ = ScalarType::Undefined;
  TensorView view_;
};

// An input that must be given.
Input Given(const char* op, const char* name, const std::optional<Tensor>& tensor);

// Outputs, not yet written.
Tensor Make(Sizes sizes, ScalarType type);
Tensor Make(Sizes sizes, ElementType type);
inline Tensor MakeLike(const Input& input) {
  return Make(input->sizes, input.scalar_type());
}
// What stands for an output that was not asked for.
inline Tensor None() {
  return Make(Dims{0}, ScalarType::Float);
}

template <typename T>
T* DataOf(Tensor* tensor) {
  return static_cast<T*>(tensor->mutable_data_ptr());
}
inline void* DataOf(Tensor* tensor) {
  return tensor->mutable_data_ptr();
}

// Zeros it.
void Clear(Tensor* tensor);

// The threads of PyTorch, as kernels ask for them.
void TorchParallelFor(int64_t begin, int64_t end, int64_t grain, RangeBody body);

inline int64_t ThreadCount() {
  return static_cast<int64_t>(torch::stable::get_num_threads());
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
