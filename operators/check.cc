#include "operators/check.h"

#include <algorithm>
#include <limits>
#include <sstream>

namespace caffe2 {
namespace mask {

std::string ShapeName(at::IntArrayRef sizes) {
  std::ostringstream out;
  out << "[";
  for (size_t d = 0; d < sizes.size(); ++d) out << (d == 0 ? "" : ", ") << sizes[d];
  out << "]";
  return out.str();
}

std::string TypeName(TypeMeta type) {
  if (type.Match<bool>()) return "bool";
  if (type.Match<uint8_t>()) return "uint8";
  if (type.Match<int8_t>()) return "int8";
  if (type.Match<uint16_t>()) return "uint16";
  if (type.Match<int16_t>()) return "int16";
  if (type.Match<int32_t>()) return "int32";
  if (type.Match<int64_t>()) return "int64";
  if (type.Match<at::Half>()) return "float16";
  if (type.Match<at::BFloat16>()) return "bfloat16";
  if (type.Match<float>()) return "float32";
  if (type.Match<double>()) return "float64";
  if (type.Match<std::string>()) return "string";
  const auto name = type.name();
  return std::string(name.data(), name.size());
}

namespace {

// Product of sizes[begin, end), 0 where one of them is; false where it is past an int64.
bool Multiply(at::IntArrayRef sizes, int64_t begin, int64_t end, int64_t* product) {
  *product = 1;
  bool overflow = false;
  for (int64_t d = begin; d < end; ++d) {
    const int64_t size = sizes[static_cast<size_t>(d)];
    if (size == 0) {
      *product = 0;
      return true;
    }
    overflow = overflow || __builtin_mul_overflow(*product, size, product);
  }
  return !overflow;
}

}  // namespace

int64_t Product(at::IntArrayRef sizes, int64_t begin, int64_t end) {
  int64_t product = 1;
  return Multiply(sizes, begin, end, &product) ? product : std::numeric_limits<int64_t>::max();
}

void CheckOutputSize(const char* op, const char* name, at::IntArrayRef sizes, TypeMeta type) {
  int64_t bytes = 0;
  CAFFE_ENFORCE(
      Multiply(sizes, 0, static_cast<int64_t>(sizes.size()), &bytes) &&
          !__builtin_mul_overflow(bytes, static_cast<int64_t>(type.itemsize()), &bytes),
      op, ": ", name, " would be of shape ", ShapeName(sizes), " and type ", TypeName(type),
      ", which is more than 2^63 - 1 bytes.");
}

int64_t RowBytes(int64_t rows, int64_t row, TypeMeta type) {
  return rows == 0 ? 0 : row * static_cast<int64_t>(type.itemsize());
}

bool IsPlain(TypeMeta type) {
  // bfloat16 is as plain as the others, but not "fundamental" to the runtime, which
  // therefore has a function to copy it.
  return type.itemsize() > 0 && (type.copy() == nullptr || type.Match<at::BFloat16>());
}

const OperatorDef& WithDistinctOutputs(const OperatorDef& def) {
  for (int i = 1; i < def.output_size(); ++i) {
    for (int j = 0; j < i; ++j) {
      CAFFE_ENFORCE(
          def.output(i) != def.output(j), def.type(), ": outputs must be different blobs, but ", j,
          " and ", i, " are both '", def.output(i), "'.");
    }
  }
  return def;
}

const bool* MaskData(const char* op, const char* name, const Tensor& mask) {
  CAFFE_ENFORCE(
      mask.dtype().Match<bool>(), op, ": ", name, " must be of type bool, but is ",
      TypeName(mask.dtype()), ".");
  return mask.data<bool>();
}

void CheckLeadingDims(
    const char* op, const char* mask_name, at::IntArrayRef mask, const char* data_name,
    at::IntArrayRef data) {
  CAFFE_ENFORCE(
      !mask.empty() && mask.size() <= data.size() &&
          std::equal(mask.begin(), mask.end(), data.begin()),
      op, ": ", mask_name, " must have at least one dim and the leading dims of ", data_name,
      ", but ", mask_name, " is of shape ", ShapeName(mask), " and ", data_name, " of shape ",
      ShapeName(data), ".");
}

}  // namespace mask
}  // namespace caffe2
