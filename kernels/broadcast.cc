#include "kernels/broadcast.h"

#include <cstddef>

namespace caffe2op_mask {

RowBroadcast::RowBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank) {
  int64_t stride = 1;
  int64_t row_stride = 1;
  for (int64_t d = rank - 1; d >= 0; --d) {
    const int64_t back = rank - d;  // 1 is the last dim
    const int64_t small = back <= small_rank ? small_dims[small_rank - back] : 1;
    const Dim dim{dims[d], small == 1 ? 0 : stride, row_stride};
    stride *= small;
    if (back == 1) {
      columns_ = dim.size;
      column_stride_ = dim.stride;
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
