#pragma once

// Tensors of real elements: how kernels know their types, and checks of them.

#include "caffe2/core/operator.h"
#include "kernels/real.h"

namespace caffe2 {
namespace mask {

// The type in which kernels know a type of the runtime: same bytes.
template <typename T>
struct KernelReal {
  using type = T;
};
template <>
struct KernelReal<at::Half> {
  using type = caffe2op_mask::Float16;
};
template <>
struct KernelReal<at::BFloat16> {
  using type = caffe2op_mask::BFloat16;
};

// The elements of a tensor as kernels know them.
template <typename T>
const typename KernelReal<T>::type* RealData(const Tensor& tensor) {
  return reinterpret_cast<const typename KernelReal<T>::type*>(tensor.data<T>());
}
template <typename T>
typename KernelReal<T>::type* MutableRealData(Tensor* tensor) {
  return reinterpret_cast<typename KernelReal<T>::type*>(tensor->mutable_data<T>());
}

// The type of a tensor, as kernels are told it; throws where it is not real.
caffe2op_mask::Real RealType(const char* op, const char* name, const Tensor& tensor);

// Throws: the tensor is not of reals.
[[noreturn]] void ThrowNotReal(const char* op, const char* name, const Tensor& tensor);

// Throws unless both are of one type.
void CheckSameType(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other);

// Throws unless both are of one shape and type.
void CheckSame(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other);

}  // namespace mask
}  // namespace caffe2
