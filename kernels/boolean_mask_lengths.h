#pragma once

// How many entries of each segment, or of each row, a mask keeps.

#include <cstdint>

#include "kernels/chunk.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// Where the segments lie: the sum of the lengths before every piece of them. Pieces
// are few, so that the table of any number of segments goes on a stack.
constexpr int64_t kMaxPieces = 1024;

struct SegmentTable {
  int64_t each;  // segments of a piece
  int64_t pieces;
  int64_t before[kMaxPieces];
};

struct LengthsSum {
  int64_t total;     // of all lengths, where they are valid
  int64_t negative;  // first index with a negative length, or -1
  int64_t overflow;  // first index where the sum passes int64_t, or -1
};

// Adds lengths[0, segments) up and fills in the table, which holds where they are
// valid.
template <typename Index>
LengthsSum SumLengths(
    const Index* lengths, int64_t segments, SegmentTable* table, ParallelFor parallel_for);

// Threads share the entries of the mask, in groups of chunks, not the segments, of
// which one may be as long as all others together. Groups are few as pieces are.
constexpr int64_t kMaxGroups = 256;

constexpr int64_t GroupEntries(int64_t entries) {
  return (NumChunks(entries) + kMaxGroups - 1) / kMaxGroups * kChunkEntries;
}

// A segment, and how many of its entries are still to come.
struct SegmentCursor {
  int64_t segment;
  int64_t remaining;
};

// counts[s] = True entries of mask[0, entries) in segment s; the lengths add up to
// `entries`, and the table is what SumLengths made of them. `offsets`, unless null,
// becomes what ChunkOffsets (kernels/boolean_mask.h) makes of the mask; returns the
// number of True then.
template <typename Index>
int64_t CountTrueInSegments(
    const bool* mask, int64_t entries, const Index* lengths, int64_t segments,
    const SegmentTable& table, Index* counts, int64_t* offsets, ParallelFor parallel_for);

// counts[r] = True entries of row r of the mask, [rows, columns].
template <typename Index>
void CountTrueInRows(
    const bool* mask, int64_t rows, int64_t columns, Index* counts, ParallelFor parallel_for);

}  // namespace caffe2op_mask
