#include "torch_ops/tensor.h"

#include <torch/headeronly/core/DeviceType.h>
#include <torch/headeronly/core/Layout.h>

#include <algorithm>
#include <cstring>
#include <exception>

namespace caffe2op_mask {
namespace torch_ops {
namespace {

struct Types {
  ElementType element;
  ScalarType scalar;
};

constexpr Types kTypes[] = {
    {ElementType::kFloat32, ScalarType::Float}, {ElementType::kFloat64, ScalarType::Double},
    {ElementType::kFloat16, ScalarType::Half},  {ElementType::kBFloat16, ScalarType::BFloat16},
    {ElementType::kInt32, ScalarType::Int},     {ElementType::kInt64, ScalarType::Long},
    {ElementType::kBool, ScalarType::Bool},     {ElementType::kUInt8, ScalarType::Byte},
    {ElementType::kInt8, ScalarType::Char},     {ElementType::kUInt16, ScalarType::UInt16},
    {ElementType::kInt16, ScalarType::Short}};

const char* DeviceOf(const Tensor& tensor) {
  switch (tensor.device().type()) {
    case torch::headeronly::DeviceType::CUDA: return "cuda";
    case torch::headeronly::DeviceType::XPU: return "xpu";
    case torch::headeronly::DeviceType::MPS: return "mps";
    case torch::headeronly::DeviceType::Meta: return "meta";
    default: return "another device";
  }
}

ScalarType TypeOf(const char* op, const char* name, const Tensor& tensor) {
  try {
    return tensor.scalar_type();
  } catch (const std::exception&) {
    Throw(
        Sentence() << op << ": " << name
                   << " is of a type that the stable ABI of LibTorch has no name for, such as a "
                      "quantized one.");
  }
}

}  // namespace

void CheckPlace(const char* op, const char* name, const Tensor& tensor) {
  Require(tensor.defined(), op, ": ", name, " must be a tensor, but is None.");
  Require(tensor.is_cpu(), op, ": ", name, " must be on a CPU, but is on ", DeviceOf(tensor), ".");
  Require(
      tensor.layout() == torch::headeronly::Layout::Strided, op, ": ", name,
      " must be a dense tensor, but is of another layout.");
}

Input::Input(const char* op, const char* name, const Tensor& tensor, Layout layout)
    : tensor_(tensor) {
  CheckPlace(op, name, tensor);
  scalar_type_ = TypeOf(op, name, tensor);
  const auto sizes = tensor.sizes();
  view_.sizes = {sizes.data(), static_cast<int64_t>(sizes.size())};
  if (!tensor.is_contiguous()) {
    view_.strides = StridesOf(tensor);
    heads_beside_ = view_.rank() == 4 && view_.strides[1] < view_.strides[2];
    if (layout == Layout::kContiguous || !HasContiguousRows(view_)) {
      tensor_ = torch::stable::contiguous(tensor);
      view_.strides = {};
    }
  }
  for (const Types& types : kTypes) {
    if (types.scalar == scalar_type_) view_.type = types.element;
  }
  if (view_.Is(ElementType::kOther)) view_.other_name = torch::headeronly::toString(scalar_type_);
  view_.element_bytes = static_cast<int64_t>(tensor_->element_size());
  view_.is_plain = true;
  // Null stands for a tensor that is not there.
  view_.data = tensor_->numel() == 0 ? kNoEntries : tensor_->const_data_ptr();
}

Input Given(const char* op, const char* name, const std::optional<Tensor>& tensor) {
  Require(tensor.has_value(), op, ": ", name, " must be given, but is not.");
  return Input(op, name, *tensor);
}

Tensor Make(Sizes sizes, Sizes strides, ScalarType type) {
  // Not torch::stable::empty, which takes microseconds more.
  AtenTensorHandle handle;
  const auto dtype = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      sizes.rank(), sizes.data(), strides.data(), dtype, aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

Tensor Make(Sizes sizes, ScalarType type) {
  Dims strides = sizes;
  int64_t stride = 1;
  for (int64_t d = sizes.rank() - 1; d >= 0; --d) {
    strides[d] = stride;
    stride *= std::max<int64_t>(sizes[d], 1);
  }
  return Make(sizes, strides, type);
}

Tensor MakeRows(Sizes sizes, const Input& like) {
  if (!like.heads_beside() || sizes.rank() != 4) return Make(sizes, like.scalar_type());
  const int64_t depth = std::max<int64_t>(sizes[3], 1);
  const int64_t row = depth * std::max<int64_t>(sizes[1], 1);
  return Make(sizes, Dims{row * std::max<int64_t>(sizes[2], 1), depth, row, 1}, like.scalar_type());
}

Tensor Make(Sizes sizes, ElementType type) {
  for (const Types& types : kTypes) {
    if (types.element == type) return Make(sizes, types.scalar);
  }
  return Make(sizes, ScalarType::Undefined);
}

void Clear(Tensor* tensor) {
  if (tensor->numel() == 0) return;
  std::memset(
      tensor->mutable_data_ptr(), 0,
      static_cast<size_t>(tensor->numel()) * static_cast<size_t>(tensor->element_size()));
}

void TorchParallelFor(int64_t begin, int64_t end, int64_t grain, RangeBody body) {
  // What is too little for two threads runs here: asking for them costs as much as a small operator
  // does in all.
  if (end - begin <= grain) {
    SerialFor(begin, end, grain, body);
  } else {
    torch::stable::parallel_for(begin, end, grain, body);
  }
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
