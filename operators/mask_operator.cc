#include "operators/mask_operator.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

namespace {

ElementType TypeOf(TypeMeta type) {
  if (type.Match<float>()) return ElementType::kFloat32;
  if (type.Match<bool>()) return ElementType::kBool;
  if (type.Match<int32_t>()) return ElementType::kInt32;
  if (type.Match<int64_t>()) return ElementType::kInt64;
  if (type.Match<double>()) return ElementType::kFloat64;
  if (type.Match<at::Half>()) return ElementType::kFloat16;
  if (type.Match<at::BFloat16>()) return ElementType::kBFloat16;
  if (type.Match<uint8_t>()) return ElementType::kUInt8;
  if (type.Match<int8_t>()) return ElementType::kInt8;
  if (type.Match<uint16_t>()) return ElementType::kUInt16;
  if (type.Match<int16_t>()) return ElementType::kInt16;
  return ElementType::kOther;
}

std::string_view OtherName(TypeMeta type) {
  if (type.Match<std::string>()) return "string";
  const auto name = type.name();
  return {name.data(), name.size()};
}

}  // namespace

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

TypeMeta MetaOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32: return TypeMeta::Make<float>();
    case ElementType::kFloat64: return TypeMeta::Make<double>();
    case ElementType::kFloat16: return TypeMeta::Make<at::Half>();
    case ElementType::kBFloat16: return TypeMeta::Make<at::BFloat16>();
    case ElementType::kInt32: return TypeMeta::Make<int32_t>();
    case ElementType::kInt64: return TypeMeta::Make<int64_t>();
    case ElementType::kBool: return TypeMeta::Make<bool>();
    case ElementType::kUInt8: return TypeMeta::Make<uint8_t>();
    case ElementType::kInt8: return TypeMeta::Make<int8_t>();
    case ElementType::kUInt16: return TypeMeta::Make<uint16_t>();
    case ElementType::kInt16: return TypeMeta::Make<int16_t>();
    case ElementType::kOther: break;
  }
  return TypeMeta();
}

Dims DimsOf(const TensorShape& shape) {
  Dims dims;
  if (shape.unknown_shape()) return dims;
  for (const int64_t dim : shape.dims()) dims.Append({&dim, 1});
  return dims;
}

void SetDims(Sizes sizes, TensorShape* shape) {
  shape->clear_dims();
  for (const int64_t dim : sizes) shape->add_dims(dim);
}

TensorView MaskOperator::Shape(int input) {
  const TypeMeta type = Input(input).dtype();
  TensorView view;
  view.type = TypeOf(type);
  view.element_bytes = static_cast<int64_t>(type.itemsize());
  // bfloat16 is as plain as the others, but not "fundamental" to the runtime, which therefore has a
  // function to copy it.
  view.is_plain = !view.Is(ElementType::kOther) || (type.itemsize() > 0 && type.copy() == nullptr);
  if (view.Is(ElementType::kOther)) view.other_name = OtherName(type);
  view.sizes = SizesOf(input);
  return view;
}

TensorView MaskOperator::View(int input) {
  const Tensor& tensor = Input(input);
  CAFFE_ENFORCE(
      tensor.dtype_initialized() && tensor.storage_initialized(), debug_def().type(), ": input ",
      input, ", '", debug_def().input(input), "', is of shape ", tensor.sizes(),
      ", but nothing was written to it.");
  TensorView view = Shape(input);
  const void* const data = tensor.raw_data();
  view.data = data == nullptr ? kNoEntries : data;
  return view;
}

}  // namespace mask
}  // namespace caffe2
