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

// An input as contracts see it, which keeps its memory alive.
class Input {
 public:
  // How its elements lie: all of them, or those of each row, follow one another. What lies
  // otherwise is copied.
  enum class Layout { kContiguous, kRows };

  // One that was not given.
  Input() = default;
  Input(
      const char* op, const char* name, const Tensor& tensor, Layout layout = Layout::kContiguous);
  Input(
      const char* op, const char* name, const std::optional<Tensor>& tensor,
      Layout layout = Layout::kContiguous) {
    if (tensor) *this = Input(op, name, *tensor, layout);
  }

  const TensorView& operator*() const { return view_; }
  const TensorView* operator->() const { return &view_; }
  // Null where it was not given.
  const TensorView* get() const { return tensor_ ? &view_ : nullptr; }
  ScalarType scalar_type() const { return scalar_type_; }
  // Whether the heads of a row, in [B, H, L, D], lie beside one another, as in a view of
  // [B, L, H, D].
  bool heads_beside() const { return heads_beside_; }

 private:
  std::optional<Tensor> tensor_;
  ScalarType scalar_type_ = ScalarType::Undefined;
  bool heads_beside_ = false;
  TensorView view_;
};

// An input that must be given.
Input Given(const char* op, const char* name, const std::optional<Tensor>& tensor);

// Outputs, not yet written: contiguous, or with these strides.
Tensor Make(Sizes sizes, Sizes strides, ScalarType type);
Tensor Make(Sizes sizes, ScalarType type);
Tensor Make(Sizes sizes, ElementType type);
inline Tensor MakeLike(const Input& input) {
  return Make(input->sizes, input.scalar_type());
}
// Rows that lie as those of an input do: heads beside one another, or one behind the other.
Tensor MakeRows(Sizes sizes, const Input& like);
inline Sizes StridesOf(const Tensor& tensor) {
  const auto strides = tensor.strides();
  return {strides.data(), static_cast<int64_t>(strides.size())};
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
