#pragma once

// Fill where a bool mask is False; the mask is broadcast, never expanded.

#include <cstdint>
#include <vector>

#include "kernels/parallel.h"

namespace caffe2op_mask {

// How a mask lies on data whose leading dims it is aligned to: mask dims are
// those of the data or 1, and each entry covers all dims behind the mask's.
class MaskBroadcast {
 public:
  // Dims as checked by the caller: mask_rank <= data_rank, each mask dim 1 or
  // equal to the data's.
  MaskBroadcast(
      const int64_t* data_dims, int64_t data_rank, const int64_t* mask_dims, int64_t mask_rank);

  // The data seen as [outer, columns, repeat] elements: one run of the mask,
  // mask[MaskOffset(o) .. + columns), covers the columns of outer index o.
  int64_t outer() const { return outer_; }
  int64_t columns() const { return columns_; }
  int64_t repeat() const { return repeat_; }
  int64_t MaskOffset(int64_t outer_index) const;

 private:
  struct Dim {
    int64_t size;
    int64_t stride;
  };
  std::vector<Dim> dims_;  // of `outer`, the innermost last
  int64_t outer_ = 1;
  int64_t columns_ = 1;
  int64_t repeat_ = 1;
};

// out = in where the mask is True, else the fill (kernels/fill.h); elements of
// `width` bytes. `out` is `in` or does not overlap it.
void MaskedFill(
    const bool* mask, const MaskBroadcast& shape, int64_t width, const void* in,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for);

}  // namespace caffe2op_mask
