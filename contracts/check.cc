#include "contracts/check.h"

#include <limits>

namespace caffe2op_mask {
namespace {

void CheckOutputBytes(
    const char* op, const char* name, Sizes sizes, std::string_view type, int64_t element_bytes) {
  int64_t bytes = 0;
  Require(
      Multiply(sizes, &bytes) && !__builtin_mul_overflow(bytes, element_bytes, &bytes), op, ": ",
      name, " would be of shape ", sizes, " and type ", type,
      ", which is more than 2^63 - 1 bytes.");
}

template <typename T>
bool Holds(double value) {
  return std::abs(value) <= double{std::numeric_limits<T>::max()} &&
         (value == 0 || static_cast<T>(value) != 0);
}

}  // namespace

void CheckOutputSize(const char* op, const char* name, Sizes sizes, const TensorView& of_type) {
  CheckOutputBytes(op, name, sizes, of_type.type_name(), of_type.element_bytes);
}

void CheckOutputSize(const char* op, const char* name, Sizes sizes, ElementType type) {
  CheckOutputBytes(op, name, sizes, NameOf(type), ElementBytes(type));
}

const bool* MaskData(const char* op, const char* name, const TensorView& mask) {
  Require(
      mask.Is(ElementType::kBool), op, ": ", name, " must be of type bool, but is ",
      mask.type_name(), ".");
  return mask.As<bool>();
}

void CheckLeadingDims(
    const char* op, const char* mask_name, Sizes mask, const char* data_name, Sizes data) {
  Require(
      mask.rank() > 0 && data.BeginsWith(mask), op, ": ", mask_name,
      " must have at least one dim and the leading dims of ", data_name, ", but ", mask_name,
      " is of shape ", mask, " and ", data_name, " of shape ", data, ".");
}

Real RealType(const char* op, const char* name, const TensorView& tensor) {
  Require(
      IsReal(tensor.type), op, ": ", name,
      " must be of type float16, bfloat16, float32 or float64, but is ", tensor.type_name(), ".");
  return RealOf(tensor.type);
}

bool IsInt32(const char* op, const char* name, const TensorView& tensor) {
  Require(
      tensor.Is(ElementType::kInt32) || tensor.Is(ElementType::kInt64), op, ": ", name,
      " must be of type int32 or int64, but is ", tensor.type_name(), ".");
  return tensor.Is(ElementType::kInt32);
}

void CheckSameType(
    const char* op, const char* name, const TensorView& tensor, const char* other_name,
    const TensorView& other) {
  Require(
      SameType(tensor, other), op, ": ", name, " must be of the type of ", other_name, ", ",
      other.type_name(), ", but is ", tensor.type_name(), ".");
}

void CheckSame(
    const char* op, const char* name, const TensorView& tensor, const char* other_name,
    const TensorView& other) {
  CheckSameType(op, name, tensor, other_name, other);
  Require(
      tensor.sizes == other.sizes, op, ": ", name, " must be of the shape of ", other_name, ", ",
      other.sizes, ", but is of shape ", tensor.sizes, ".");
}

void CheckIs(
    const char* op, const char* name, const TensorView& tensor, Sizes sizes, ElementType type) {
  Require(
      tensor.Is(type) && tensor.sizes == sizes, op, ": ", name, " must be of shape ", sizes,
      " and type ", NameOf(type), ", but is of shape ", tensor.sizes, " and type ",
      tensor.type_name(), ".");
}

void CheckHolds(const char* op, const char* argument, double value, ElementType type) {
  const bool holds = !std::isfinite(value) ||
                     (type == ElementType::kFloat64 ? Holds<double>(value) : Holds<float>(value));
  Require(
      holds, op, ": argument ", argument, " is ", value, ", which ", NameOf(type), " cannot hold.");
}

}  // namespace caffe2op_mask
