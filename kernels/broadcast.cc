#include "kernels/broadcast.h"

#include <algorithm>
#include <cstddef>

namespace caffe2op_mask {
namespace {

int64_t DivideRoundUp(int64_t a, int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace

RowBroadcast::RowBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank, bool merges) {
  int64_t stride = 1;
  int64_t row_stride = 1;
  for (int64_t back = 1; back <= rank; ++back) {  // 1 is the last dim
    const int64_t small = back <= small_rank ? small_dims[small_rank - back] : 1;
    const Dim dim{dims[rank - back], small == 1 ? 0 : stride, row_stride};
    stride *= small;
    const bool alike = columns_ == 1 || (dim.stride == 0) == (column_stride_ == 0);
    if (back == 1 || (merges && dims_.empty() && alike)) {
      columns_ *= dim.size;
      column_stride_ = dim.stride == 0 ? 0 : 1;
      continue;
    }
    row_stride *= dim.size;
    int64_t& count = dim.stride == 0 ? repeats_ : small_rows_;
    count *= dim.size;
    if (dim.size == 1) continue;
    // Neighbours through which the smaller tensor is stepped alike are one dim.
    if (!dims_.empty() && dims_.back().stride * dims_.back().size == dim.stride) {
      dims_.back().size *= dim.size;
    } else {
      dims_.push_back(dim);
    }
  }
}

int64_t RowBroadcast::Offset(int64_t row) const {
  int64_t offset = 0;
  for (size_t d = 0; d < dims_.size(); ++d) {
    // The outermost index is what is left: most masks need no division at all.
    const bool last = d + 1 == dims_.size();
    const int64_t outer = last ? 0 : row / dims_[d].size;
    offset += (row - outer * dims_[d].size) * dims_[d].stride;
    row = outer;
  }
  return offset;
}

int64_t RowBroadcast::Row(int64_t small_row, int64_t k) const {
  int64_t row = 0;
  for (const Dim& dim : dims_) {
    int64_t& index = dim.stride == 0 ? k : small_row;
    row += index % dim.size * dim.row_stride;
    index /= dim.size;
  }
  return row;
}

RowBroadcast ElementBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank) {
  return RowBroadcast(dims, rank, small_dims, small_rank, true);
}

LeadingEntries LeadingBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* mask_dims, int64_t mask_rank) {
  // Where there is nothing, the product of the other dims need not be an int64.
  if (std::count(dims, dims + rank, 0) > 0) return {RowBroadcast(), 0};
  int64_t covered = 1;
  while (rank > mask_rank || (rank > 0 && mask_dims[rank - 1] == 1)) covered *= dims[--rank];
  return {ElementBroadcast(dims, rank, mask_dims, rank), covered};
}

BroadcastSum::BroadcastSum(const RowBroadcast& at, int64_t elements)
    : columns_(at.columns()), repeats_(at.repeats()), by_column_(at.column_stride() != 0) {
  unit_columns_ = std::max<int64_t>(std::min(columns_, by_column_ ? kColumns : elements), 1);
  unit_repeats_ = std::max<int64_t>(std::min(repeats_, elements / unit_columns_), 1);
  column_pieces_ = DivideRoundUp(columns_, unit_columns_);
  repeat_pieces_ = DivideRoundUp(repeats_, unit_repeats_);
  parts_ = by_column_ ? repeat_pieces_ : repeat_pieces_ * column_pieces_;
  units_ = at.small_rows() * column_pieces_ * repeat_pieces_;
}

BroadcastSum::Unit BroadcastSum::UnitAt(int64_t index) const {
  Unit unit{};
  const int64_t column_piece = index % column_pieces_;
  index /= column_pieces_;
  const int64_t repeat_piece = index % repeat_pieces_;
  unit.small_row = index / repeat_pieces_;
  unit.column = column_piece * unit_columns_;
  unit.columns = std::min(unit_columns_, columns_ - unit.column);
  unit.repeat = repeat_piece * unit_repeats_;
  unit.repeats = std::min(unit_repeats_, repeats_ - unit.repeat);
  unit.part = by_column_ ? repeat_piece : repeat_piece * column_pieces_ + column_piece;
  return unit;
}

bool CanBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank) {
  if (small_rank > rank) return false;
  for (int64_t back = 1; back <= small_rank; ++back) {
    const int64_t small = small_dims[small_rank - back];
    if (small != 1 && small != dims[rank - back]) return false;
  }
  return true;
}

}  // namespace caffe2op_mask
