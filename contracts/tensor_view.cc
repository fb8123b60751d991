#include "contracts/tensor_view.h"

namespace caffe2op_mask {

const char* NameOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32: return "float32";
    case ElementType::kFloat64: return "float64";
    case ElementType::kFloat16: return "float16";
    case ElementType::kBFloat16: return "bfloat16";
    case ElementType::kInt32: return "int32";
    case ElementType::kInt64: return "int64";
    case ElementType::kBool: return "bool";
    case ElementType::kUInt8: return "uint8";
    case ElementType::kInt8: return "int8";
    case ElementType::kUInt16: return "uint16";
    case ElementType::kInt16: return "int16";
    case ElementType::kOther: break;
  }
  return "another type";
}

}  // namespace caffe2op_mask
