#include "kernels/boolean_mask_lengths.h"

#include <algorithm>

#include "kernels/chunk.h"

namespace caffe2op_mask {

template <typename Index>
LengthsSum SumLengths(const Index* lengths, int64_t segments, int64_t* block_begins) {
  int64_t total = 0;
  for (int64_t s = 0; s < segments; ++s) {
    if (s % kBlockSegments == 0) block_begins[s / kBlockSegments] = total;
    if (lengths[s] < 0) return {0, s, -1};
    if (__builtin_add_overflow(total, static_cast<int64_t>(lengths[s]), &total)) return {0, -1, s};
  }
  return {total, -1, -1};
}

template <typename Index>
void CountTrueInSegments(
    const bool* mask, const Index* lengths, int64_t segments, const int64_t* block_begins,
    Index* counts, ParallelFor parallel_for) {
  parallel_for(0, NumSegmentBlocks(segments), 1, [=](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      int64_t begin = block_begins[block];
      const int64_t end = std::min(segments, (block + 1) * kBlockSegments);
      for (int64_t s = block * kBlockSegments; s < end; ++s) {
        counts[s] = static_cast<Index>(CountTrue(mask + begin, lengths[s]));
        begin += lengths[s];
      }
    }
  });
}

template <typename Index>
void CountTrueInRows(
    const bool* mask, int64_t rows, int64_t columns, Index* counts, ParallelFor parallel_for) {
  parallel_for(0, rows, GrainFor(columns), [=](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      counts[r] = static_cast<Index>(CountTrue(mask + r * columns, columns));
    }
  });
}

#define INSTANTIATE(Index)                                                      \
  template LengthsSum SumLengths(const Index*, int64_t, int64_t*);              \
  template void CountTrueInSegments(                                            \
      const bool*, const Index*, int64_t, const int64_t*, Index*, ParallelFor); \
  template void CountTrueInRows(const bool*, int64_t, int64_t, Index*, ParallelFor)
INSTANTIATE(int32_t);
INSTANTIATE(int64_t);
#undef INSTANTIATE

}  // namespace caffe2op_mask
