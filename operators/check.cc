#include "operators/check.h"

#include <algorithm>
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

int64_t Product(at::IntArrayRef sizes, int64_t begin, int64_t end) {
  int64_t product = 1;
  for (int64_t d = begin; d < end; ++d) product *= sizes[static_cast<size_t>(d)];
  return product;
}

bool IsPlain(TypeMeta type) {
  return type.copy() == nullptr && type.itemsize() > 0;
}

const bool* MaskData(const std::string& op, const std::string& name, const Tensor& mask) {
  CAFFE_ENFORCE(
      mask.dtype().Match<bool>(), op, ": ", name, " must be of type bool, but is ",
      TypeName(mask.dtype()), ".");
  return mask.data<bool>();
}

void CheckLeadingDims(
    const std::string& op, const std::string& mask_name, at::IntArrayRef mask,
    const std::string& data_name, at::IntArrayRef data) {
  CAFFE_ENFORCE(
      mask.size() >= 1 && mask.size() <= data.size() &&
          std::equal(mask.begin(), mask.end(), data.begin()),
      op, ": ", mask_name, " must have at least one dim and the leading dims of ", data_name,
      ", but ", mask_name, " is of shape ", ShapeName(mask), " and ", data_name, " of shape ",
      ShapeName(data), ".");
}

}  // namespace mask
}  // namespace caffe2
