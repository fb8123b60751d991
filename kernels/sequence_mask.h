#pragma once

// Copy what a functor keeps, fill the rest.

#include <algorithm>
#include <cstdint>

#include "kernels/fill.h"
#include "kernels/functors.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// Views `in` and `out` as [left, masked_dims, repeated_dims] elements of
// `width` bytes. Row i keeps the columns fn(i, masked_dims) with all that is
// repeated under them; every other element becomes the fill.
template <class Functor>
void RepeatedMaskWithFunctor(
    int64_t left, int64_t masked_dims, int64_t repeated_dims, int64_t width, const void* in,
    const Functor& fn, uint64_t fill_pattern, void* out, ParallelFor parallel_for) {
  if (left == 0 || masked_dims == 0 || repeated_dims == 0) return;
  const int64_t column = repeated_dims * width;
  const int64_t row = masked_dims * column;
  const auto* const src = static_cast<const uint8_t*>(in);
  auto* const dst = static_cast<uint8_t*>(out);
  const Stores stores = StoresFor(left * row);
  // Pieces are ranges of columns, not of rows: one long row also gets every thread.
  parallel_for(0, left * masked_dims, GrainFor(column), [=, &fn](int64_t begin, int64_t end) {
    for (int64_t i = begin / masked_dims; begin < end; ++i) {
      const int64_t first = begin - i * masked_dims;
      const int64_t last = std::min(end - i * masked_dims, masked_dims);
      const Interval kept = fn(i, masked_dims);
      const int64_t keep_begin = std::clamp(kept.begin, first, last);
      const int64_t keep_end = std::clamp(kept.end, keep_begin, last);
      const int64_t offset = i * row + first * column;
      MaskSpan(
          src + offset, (last - first) * column, (keep_begin - first) * column,
          (keep_end - first) * column, fill_pattern, dst + offset, stores);
      begin = i * masked_dims + last;
    }
    FinishStores(stores);
  });
}

}  // namespace caffe2op_mask
