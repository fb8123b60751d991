#pragma once

// How many entries of each segment, or of each row, a mask keeps.

#include <cstdint>

#include "kernels/chunk.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// Threads share the entries of the mask, in groups, not the segments, of which
// one may be as long as all others together.
constexpr int64_t kGroupEntries = 16 * kChunkEntries;

constexpr int64_t NumGroups(int64_t entries) {
  return (entries + kGroupEntries - 1) / kGroupEntries;
}

// What a group knows of the segments: which one its first entry is of, how many
// entries of that are still to come, and what it counted for it where the
// segment began before the group.
struct GroupStart {
  int64_t segment;
  int64_t remaining;
  int64_t carry;
};

struct LengthsSum {
  int64_t total;     // of all lengths, where they are valid
  int64_t negative;  // first index with a negative length, or -1
  int64_t overflow;  // first index where the sum passes int64_t, or -1
};

// Adds lengths[0, segments) up and fills in starts, [NumGroups(entries)], which
// hold where the lengths are valid and add up to `entries`.
template <typename Index>
LengthsSum SumLengths(const Index* lengths, int64_t segments, int64_t entries, GroupStart* starts);

// counts[s] = True entries of mask[0, entries) in segment s; lengths and starts as
// SumLengths left them. `offsets`, unless null, becomes what ChunkOffsets
// (kernels/boolean_mask.h) makes of the mask; returns the number of True.
template <typename Index>
int64_t CountTrueInSegments(
    const bool* mask, int64_t entries, const Index* lengths, int64_t segments, GroupStart* starts,
    Index* counts, int64_t* offsets, ParallelFor parallel_for);

// counts[r] = True entries of row r of the mask, [rows, columns].
template <typename Index>
void CountTrueInRows(
    const bool* mask, int64_t rows, int64_t columns, Index* counts, ParallelFor parallel_for);

}  // namespace caffe2op_mask
