#include "contracts/scores.h"

#include <algorithm>
#include <cmath>

#include "contracts/broadcast.h"
#include "contracts/check.h"

namespace caffe2op_mask {
namespace {

EmptyRow ReadEmptyRow(const char* op, std::string_view name) {
  Require(
      name == "zero" || name == "nan" || name == "uniform", op,
      ": argument empty_row must be zero, nan or uniform, but is '", name, "'.");
  return name == "zero" ? EmptyRow::kZero : name == "nan" ? EmptyRow::kNaN : EmptyRow::kUniform;
}

std::optional<double> ReadScale(const char* op, const std::optional<Number>& scale) {
  if (!scale) return std::nullopt;
  Require(
      std::isfinite(scale->AsDouble()), op, ": argument scale must be a finite number, but is ",
      *scale, ".");
  return scale->AsDouble();
}

}  // namespace

ScoreContract::ScoreContract(const char* op, const ScoreOptions& options)
    : op_(op),
      shape_(op, options.shape, MaskShape::Use::kScores),
      has_mask_(options.has_mask),
      has_bias_(options.has_bias),
      has_sinks_(options.has_sinks),
      scale_(ReadScale(op, options.scale)),
      empty_row_(ReadEmptyRow(op, options.empty_row)) {}

double ScoreContract::Scale(double otherwise, Real type) const {
  const double scale = scale_.value_or(otherwise);
  CheckHolds(op_, "scale", scale, WideOf(type));
  return scale;
}

RowBroadcast ScoreContract::Broadcast(
    const char* input, const TensorView& tensor, const char* name, Sizes sizes) const {
  Require(
      CanBroadcast(sizes, tensor.sizes), op_, ": ", input,
      " must be of a shape that broadcasts to that of ", name, ", ", sizes, ", but is of shape ",
      tensor.sizes, ".");
  return BroadcastRows(sizes, tensor.sizes);
}

RowEntries ScoreContract::RowsOf(
    RowInput input, const TensorView& tensor, const char* name, Sizes sizes) const {
  RowEntries entries{tensor.data, IsInt32(op_, NameOf(input), tensor), {}};
  const int64_t last = sizes.rank() - 1;
  const int64_t rows = Product(sizes.First(last));
  const int64_t count = tensor.numel();
  // One for each row is what stock SequenceMask takes; where leading dims fit too, it is the same.
  if (tensor.rank() == 1 && count == rows) {
    entries.index = {1, std::max<int64_t>(rows, 1)};
    return entries;
  }
  Require(
      tensor.rank() <= last && sizes.BeginsWith(tensor.sizes), op_, ": ", NameOf(input),
      " must have the shape of leading dims of ", name, ", ", sizes,
      ", before its last, or one entry for each of its ", rows, " rows, but is of shape ",
      tensor.sizes, ".");
  entries.index = {Product(sizes.Between(tensor.rank(), last)), std::max<int64_t>(count, 1)};
  return entries;
}

ScoreMask ScoreContract::Mask(
    const ScoreInputs& inputs, const char* name, Sizes sizes, const int64_t* shifts) const {
  std::array<RowEntries, kRowInputs> entries;
  for (const RowInput input : row_inputs()) {
    entries[input] = RowsOf(input, inputs.of_rows[input], name, sizes);
  }
  RowPosition position;
  position.index.period = sizes.rank() < 2 ? 1 : std::max<int64_t>(sizes.FromBack(2), 1);
  if (shifts != nullptr) {
    position.shifts = shifts;
    position.shift_index = Reads(kLengths) ? entries[kLengths].index : RowIndex{1, 1};
  }
  ScoreMask mask;
  mask.shape = shape_.Functor(position, entries);
  if (has_mask_) {
    mask.mask = MaskData(op_, "mask", inputs.mask);
    mask.mask_rows = Broadcast("mask", inputs.mask, name, sizes);
  }
  return mask;
}

RowBroadcast ScoreContract::BiasRows(
    const TensorView& bias, const char* name, Sizes sizes, const TensorView& of_type) const {
  Require(
      SameType(bias, of_type), op_, ": bias must be of the type of the other inputs, ",
      of_type.type_name(), ", but is ", bias.type_name(), ".");
  return Broadcast("bias", bias, name, sizes);
}

}  // namespace caffe2op_mask
