#include "operators/score_inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "operators/arguments.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

EmptyRow ReadEmptyRow(const OperatorDef& def) {
  const std::string name = Arguments(def).String("empty_row", "zero");
  CAFFE_ENFORCE(
      name == "zero" || name == "nan" || name == "uniform", def.type(),
      ": argument empty_row must be zero, nan or uniform, but is '", name, "'.");
  return name == "zero" ? EmptyRow::kZero : name == "nan" ? EmptyRow::kNaN : EmptyRow::kUniform;
}

double ReadScale(const OperatorDef& def) {
  const Number scale = Arguments(def).Float("scale", 1.0F);
  CAFFE_ENFORCE(
      std::isfinite(scale.AsDouble()), def.type(),
      ": argument scale must be a finite number, but is ", ToString(scale), ".");
  return scale.AsDouble();
}

}  // namespace

ScoreInputs::ScoreInputs(const OperatorDef& def)
    : type_(def.type()),
      shape_(def, MaskShape::Use::kScores),
      has_mask_(Arguments(def).Bool("has_mask", false)),
      has_bias_(Arguments(def).Bool("has_bias", false)),
      has_sinks_(Arguments(def).Bool("has_sinks", false)),
      scale_(ReadScale(def)),
      empty_row_(ReadEmptyRow(def)) {}

void ScoreInputs::CheckInputs(const OperatorDef& def, const char* first, int first_count) const {
  std::string names = first;
  int count = first_count;
  const auto add = [&](bool there, const char* name) {
    if (!there) return;
    names += std::string(", ") + name;
    ++count;
  };
  for (const RowInput input : shape_.row_inputs()) add(true, NameOf(input));
  add(has_mask_, "mask");
  add(has_bias_, "bias");
  add(has_sinks_, "sinks");
  CAFFE_ENFORCE(
      def.input_size() == count, type_, ": by its mode and arguments has_* it takes ", count,
      count == 1 ? " input (" : " inputs (", names, "), but there ",
      def.input_size() == 1 ? "is " : "are ", def.input_size(), ".");
}

RowBroadcast ScoreInputs::Broadcast(
    const char* input, const Tensor& tensor, const char* name, at::IntArrayRef sizes) const {
  const auto rank = static_cast<int64_t>(sizes.size());
  CAFFE_ENFORCE(
      CanBroadcast(sizes.data(), rank, tensor.sizes().data(), tensor.dim()), type_, ": ", input,
      " must be of a shape that broadcasts to that of ", name, ", ", ShapeName(sizes),
      ", but is of shape ", ShapeName(tensor.sizes()), ".");
  return RowBroadcast(sizes.data(), rank, tensor.sizes().data(), tensor.dim());
}

// Which entry of a row input belongs to which row.
RowIndex ScoreInputs::RowsOf(
    const char* input, const Tensor& tensor, const char* name, at::IntArrayRef sizes) const {
  CAFFE_ENFORCE(
      tensor.IsType<int32_t>() || tensor.IsType<int64_t>(), type_, ": ", input,
      " must be of type int32 or int64, but is ", TypeName(tensor.dtype()), ".");
  tensor.raw_data();  // throws where a shape was set but nothing written
  const auto last = static_cast<int64_t>(sizes.size()) - 1;
  const int64_t rows = Product(sizes, 0, last);
  // One for each row is what stock SequenceMask knows; where leading dims fit too, it is the same.
  if (tensor.dim() == 1 && tensor.numel() == rows) return {1, std::max<int64_t>(rows, 1)};
  CAFFE_ENFORCE(
      tensor.dim() <= last &&
          std::equal(tensor.sizes().begin(), tensor.sizes().end(), sizes.begin()),
      type_, ": ", input, " must have the shape of leading dims of ", name, ", ", ShapeName(sizes),
      ", before its last, or one entry for each of its ", rows, " rows, but is of shape ",
      ShapeName(tensor.sizes()), ".");
  return {Product(sizes, tensor.dim(), last), std::max<int64_t>(tensor.numel(), 1)};
}

ScoreMask ScoreInputs::Mask(
    const ScoreTensors& tensors, const char* name, at::IntArrayRef sizes,
    const std::vector<int64_t>& shifts) const {
  const size_t rank = sizes.size();
  std::array<RowEntries, kRowInputs> entries;
  for (const RowInput input : shape_.row_inputs()) {
    const Tensor* const tensor = tensors.of_rows[input];
    entries[input] = {tensor, RowsOf(NameOf(input), *tensor, name, sizes)};
  }
  RowPosition position;
  position.index.period = rank < 2 ? 1 : std::max<int64_t>(sizes[rank - 2], 1);
  if (!shifts.empty()) {
    position.shifts = shifts.data();
    position.shift_index = tensors.of_rows[kLengths] ? entries[kLengths].index : RowIndex{1, 1};
  }
  ScoreMask mask;
  mask.shape = shape_.Functor(position, entries);
  if (tensors.mask) {
    mask.mask = MaskData(type_.c_str(), "mask", *tensors.mask);
    mask.mask_rows = Broadcast("mask", *tensors.mask, name, sizes);
  }
  return mask;
}

RowBroadcast ScoreInputs::BiasRows(
    const Tensor& bias, const char* name, at::IntArrayRef sizes, TypeMeta type) const {
  CAFFE_ENFORCE(
      bias.dtype() == type, type_, ": bias must be of the type of the other inputs, ",
      TypeName(type), ", but is ", TypeName(bias.dtype()), ".");
  return Broadcast("bias", bias, name, sizes);
}

}  // namespace mask
}  // namespace caffe2
