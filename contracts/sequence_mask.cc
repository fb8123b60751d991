#include "contracts/sequence_mask.h"

#include <algorithm>
#include <limits>

#include "contracts/broadcast.h"
#include "contracts/check.h"
#include "contracts/fill_value.h"

namespace caffe2op_mask {

SequenceMaskContract::SequenceMaskContract(const char* op, const SequenceMaskOptions& options)
    : op_(op),
      axis_(options.axis),
      batch_(options.batch),
      repeat_from_axis_(options.repeat_from_axis),
      by_rows_(options.lengths_of == "rows"),
      grad_(options.grad) {
  const bool by_mask = options.shape.mode == "mask";
  if (!by_mask) shape_.emplace(op, options.shape, MaskShape::Use::kSequenceMask);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  fill_val_ = options.fill_val.value_or(RealNumber(by_mask ? 0 : -kInf));
  Require(
      by_rows_ || options.lengths_of == "batch", op,
      ": argument lengths_of must be rows or batch, but is '", options.lengths_of, "'.");
}

uint64_t SequenceMaskContract::Fill(const TensorView& data) const {
  Require(
      !data.Is(ElementType::kOther), op_, ": data must be a number or bool, but is of type ",
      data.type_name(), ".");
  return grad_ ? 0 : FillValue(op_, fill_val_, data.type);
}

// Argument `name`, a dim of data counted from the front or, if negative, the back.
int64_t SequenceMaskContract::Axis(const char* name, int64_t axis, Sizes data) const {
  const int64_t rank = data.rank();
  Require(
      axis >= -rank && axis < rank, op_, ": argument ", name, " must be in [", -rank, ", ", rank,
      ") for data of shape ", data, ", but is ", axis, ".");
  return axis < 0 ? axis + rank : axis;
}

// Which entry of a row input belongs to which row; throws where there is not one for each.
RowEntries SequenceMaskContract::RowsOf(
    const char* name, const TensorView& index, Sizes data, int64_t axis, int64_t rows) const {
  RowEntries entries{index.data, IsInt32(op_, name, index), {1, rows}};
  const int64_t count = index.numel();
  if (by_rows_ && count == rows) return entries;
  const bool prefix = index.rank() <= axis && data.BeginsWith(index.sizes);
  if (prefix && !(by_rows_ && batch_)) {
    entries.index = {Product(data.Between(index.rank(), axis)), std::max<int64_t>(count, 1)};
    return entries;
  }
  Require(
      !(by_rows_ && batch_), op_, ": ", name, " must have one entry for each of the ", rows,
      " rows between batch and axis of data, ", data, ", but is of shape ", index.sizes,
      "; lengths_of = batch is for entries by batch.");
  Require(
      !by_rows_, op_, ": ", name, " must have one entry for each of the ", rows, " rows of data, ",
      data, " before axis ", axis, ", or the shape of its leading dims, but is of shape ",
      index.sizes, ".");
  Throw(
      Sentence() << op_ << ": with lengths_of = batch " << name
                 << " must have the shape of leading dims of data, " << data << ", before axis "
                 << axis << ", but is of shape " << index.sizes << ".");
}

SequenceMaskContract::Bound SequenceMaskContract::BindShape(
    const TensorView& data, const std::array<TensorView, kRowInputs>& inputs) const {
  const Sizes sizes = data.sizes;
  const int64_t axis = Axis("axis", axis_, sizes);
  const int64_t batch = batch_ ? Axis("batch", *batch_, sizes) : -1;
  Require(
      batch < axis, op_, ": argument batch must come before axis, but batch is ", batch,
      " and axis is ", axis, ".");
  int64_t repeat_from =
      repeat_from_axis_ ? Axis("repeat_from_axis", *repeat_from_axis_, sizes) : sizes.rank();
  Require(
      repeat_from >= axis || Product(sizes.Between(repeat_from, axis)) == 1, op_,
      ": argument repeat_from_axis must not come before axis, except by dims of 1, but "
      "repeat_from_axis is ",
      repeat_from, " and axis is ", axis, " for data of shape ", sizes, ".");
  repeat_from = std::max(repeat_from, axis);
  const int64_t rows = Product(sizes.Between(batch + 1, axis));
  std::array<RowEntries, kRowInputs> entries;
  for (const RowInput input : row_inputs()) {
    entries[input] = RowsOf(NameOf(input), inputs[input], sizes, axis, rows);
  }
  return {
      Product(sizes.First(axis)), Product(sizes.Between(axis, repeat_from)),
      Product(sizes.From(repeat_from)), shape_->Functor(RowIndex{1, rows}, entries)};
}

LeadingEntries SequenceMaskContract::BindMask(
    const TensorView& data, const TensorView& mask) const {
  MaskData(op_, "mask", mask);
  const auto fits = [](int64_t of_mask, int64_t of_data) {
    return of_mask == 1 || of_mask == of_data;
  };
  Require(
      mask.rank() <= data.rank() &&
          std::equal(mask.sizes.begin(), mask.sizes.end(), data.sizes.begin(), fits),
      op_, ": mask must have the leading dims of data, or 1 in their place, but mask is of shape ",
      mask.sizes, " and data of shape ", data.sizes, ".");
  return BroadcastLeading(data.sizes, mask.sizes);
}

}  // namespace caffe2op_mask
