#include "contracts/random_mask.h"

#include <algorithm>

#include "contracts/check.h"

namespace caffe2op_mask {

RandomMaskContract::Unit RandomMaskContract::ReadUnit(const char* op, std::string_view unit) {
  if (unit == "element") return Unit::kElement;
  if (unit == "row") return Unit::kRow;
  Require(unit == "span", op, ": argument unit must be element, row or span, but is '", unit, "'.");
  return Unit::kSpan;
}

RandomMaskContract::RandomMaskContract(
    const char* op, const RandomMaskOptions& options, bool has_lengths)
    : op_(op),
      unit_(ReadUnit(op, options.unit)),
      p_(options.p.AsDouble()),
      span_length_(options.span_length.value_or(10)),
      min_masked_(options.min_masked.value_or(0)) {
  Require(p_ >= 0 && p_ <= 1, op, ": argument p must be in [0, 1], but is ", options.p, ".");
  Require(
      unit_ == Unit::kSpan || !options.span_length, op,
      ": argument span_length goes with unit = span, but unit is ", options.unit, ".");
  Require(
      span_length_ >= 1, op, ": argument span_length must be at least 1, but is ", span_length_,
      ".");
  Require(
      unit_ != Unit::kRow || !(has_lengths || options.min_masked), op,
      ": lengths and argument min_masked go with unit = element or span, but unit is row.");
  Require(
      min_masked_ >= 0, op, ": argument min_masked must not be negative, but is ", min_masked_,
      ".");
}

RowLimits RandomMaskContract::Limits(Sizes sizes, const TensorView* lengths) const {
  RowLimits limits;
  limits.least = min_masked_;
  if (lengths == nullptr) return limits;
  const bool is_int32 = IsInt32(op_, "lengths", *lengths);
  const int64_t last = sizes.rank() - 1;
  Require(
      lengths->rank() <= last && sizes.BeginsWith(lengths->sizes), op_,
      ": lengths must have the shape of leading dims of X, ", sizes,
      ", before its last, but is of shape ", lengths->sizes, ".");
  const RowIndex index{
      Product(sizes.Between(lengths->rank(), last)), std::max<int64_t>(lengths->numel(), 1)};
  if (is_int32) {
    limits.real.Add(SequenceFunctor<int32_t>{lengths->As<int32_t>(), index});
  } else {
    limits.real.Add(SequenceFunctor<int64_t>{lengths->As<int64_t>(), index});
  }
  return limits;
}

void RandomMaskContract::Draw(
    Sizes sizes, const RowLimits& limits, RandomStream stream, bool* mask,
    ParallelFor parallel_for) const {
  const int64_t size = Product(sizes);
  if (size == 0) return;
  const int64_t columns = sizes.rank() == 0 ? 1 : sizes.FromBack(1);
  const int64_t rows = size / columns;
  switch (unit_) {
    case Unit::kElement:
      RandomMaskElements(p_, size, stream, mask, parallel_for);
      if (limits.real.size() > 0 || limits.least > 0) {
        LimitElements(limits, rows, columns, stream, mask, parallel_for);
      }
      break;
    case Unit::kRow: RandomMaskRows(p_, rows, columns, stream, mask, parallel_for); break;
    case Unit::kSpan:
      RandomMaskSpans(p_, span_length_, rows, columns, stream, mask, parallel_for, limits);
      break;
  }
}

}  // namespace caffe2op_mask
