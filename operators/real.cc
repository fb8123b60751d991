#include "operators/real.h"

#include "operators/check.h"

namespace caffe2 {
namespace mask {

using caffe2op_mask::Real;

Real RealType(const char* op, const char* name, const Tensor& tensor) {
  const TypeMeta type = tensor.dtype();
  if (type.Match<float>()) return Real::kFloat32;
  if (type.Match<double>()) return Real::kFloat64;
  if (type.Match<at::Half>()) return Real::kFloat16;
  if (type.Match<at::BFloat16>()) return Real::kBFloat16;
  ThrowNotReal(op, name, tensor);
}

void ThrowNotReal(const char* op, const char* name, const Tensor& tensor) {
  CAFFE_THROW(
      op, ": ", name, " must be of type float16, bfloat16, float32 or float64, but is ",
      TypeName(tensor.dtype()), ".");
}

void CheckSameType(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other) {
  CAFFE_ENFORCE(
      tensor.dtype() == other.dtype(), op, ": ", name, " must be of the type of ", other_name, ", ",
      TypeName(other.dtype()), ", but is ", TypeName(tensor.dtype()), ".");
}

void CheckSame(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other) {
  CheckSameType(op, name, tensor, other_name, other);
  CAFFE_ENFORCE(
      tensor.sizes() == other.sizes(), op, ": ", name, " must be of the shape of ", other_name,
      ", ", ShapeName(other.sizes()), ", but is of shape ", ShapeName(tensor.sizes()), ".");
}

}  // namespace mask
}  // namespace caffe2
