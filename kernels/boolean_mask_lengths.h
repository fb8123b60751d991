#pragma once

// How many entries of each segment, or of each row, a mask keeps.

#include <cstdint>

#include "kernels/parallel.h"

namespace caffe2op_mask {

// Segments are counted in blocks of this many; only a block knows where its
// first segment begins.
constexpr int64_t kBlockSegments = 4096;

constexpr int64_t NumSegmentBlocks(int64_t segments) {
  return (segments + kBlockSegments - 1) / kBlockSegments;
}

struct LengthsSum {
  int64_t total;     // of all lengths, where they are valid
  int64_t negative;  // first index with a negative length, or -1
  int64_t overflow;  // first index where the sum passes int64_t, or -1
};

// Adds lengths[0, segments) up; block_begins ([NumSegmentBlocks(segments)])
// becomes the sum before each block.
template <typename Index>
LengthsSum SumLengths(const Index* lengths, int64_t segments, int64_t* block_begins);

// counts[s] = True entries of mask in segment s. Lengths and block_begins as
// SumLengths left them, their sum the mask's size.
template <typename Index>
void CountTrueInSegments(
    const bool* mask, const Index* lengths, int64_t segments, const int64_t* block_begins,
    Index* counts, ParallelFor parallel_for);

// counts[r] = True entries of row r of the mask, [rows, columns].
template <typename Index>
void CountTrueInRows(
    const bool* mask, int64_t rows, int64_t columns, Index* counts, ParallelFor parallel_for);

}  // namespace caffe2op_mask
