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
  const auto* const src = static_cast<const uint8_t*>(in);
  auto* const dst = static_cast<uint8_t*>(out);
  const Stores stores = StoresFor(left * masked_dims * column);
  // Pieces are ranges of columns, not of rows: one long row also gets every thread.
  parallel_for(0, left * masked_dims, GrainFor(column), [=, &fn](int64_t begin, int64_t end) {
    // Whole rows go in blocks: what it costs to get to the kernel is paid once for each.
    constexpr int64_t kBlock = 64;
    Interval kept[kBlock];
    while (begin < end) {
      const int64_t i = begin / masked_dims;
      const int64_t first = begin - i * masked_dims;
      const int64_t last = std::min(end - i * masked_dims, masked_dims);
      int64_t rows = 1;
      if (last - first == masked_dims) {
        rows = std::min(kBlock, (end - begin) / masked_dims);
        for (int64_t r = 0; r < rows; ++r) kept[r] = fn(i + r, masked_dims);
      } else {
        const Interval row_kept = fn(i, masked_dims);
        kept[0].begin = std::clamp(row_kept.begin, first, last) - first;
        kept[0].end = std::clamp(row_kept.end, kept[0].begin + first, last) - first;
      }
      MaskSpans(
          src + begin * column, (last - first) * column, kept, column, rows, fill_pattern,
          dst + begin * column, stores);
      begin += rows * (last - first);
    }
    FinishStores(stores);
  });
}

// The same for any shapes.
void RepeatedMask(
    int64_t left, int64_t masked_dims, int64_t repeated_dims, int64_t width, const void* in,
    const IntersectionFunctor& functor, uint64_t fill_pattern, void* out,
    ParallelFor parallel_for);

}  // namespace caffe2op_mask
