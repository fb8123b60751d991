#include "kernels/boolean_mask_lengths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/boolean_mask_lengths.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/boolean_mask_lengths-inl.h"
// clang-format on

#if HWY_ONCE

#include <algorithm>
#include <atomic>
#include <limits>

namespace caffe2op_mask {
namespace {

HWY_EXPORT(CountGroup32);
HWY_EXPORT(CountGroup64);

int64_t CountGroup(
    const bool* mask, int64_t begin, int64_t end, const int32_t* lengths, int64_t segments,
    SegmentCursor* cursor, int32_t* counts, int64_t* offsets) {
  return HWY_DYNAMIC_DISPATCH(CountGroup32)(
      mask, begin, end, lengths, segments, cursor, counts, offsets);
}

int64_t CountGroup(
    const bool* mask, int64_t begin, int64_t end, const int64_t* lengths, int64_t segments,
    SegmentCursor* cursor, int64_t* counts, int64_t* offsets) {
  return HWY_DYNAMIC_DISPATCH(CountGroup64)(
      mask, begin, end, lengths, segments, cursor, counts, offsets);
}

// Adds up with a check at each step, to say where it went wrong.
template <typename Index>
LengthsSum SumWithChecks(const Index* lengths, int64_t segments) {
  int64_t total = 0;
  for (int64_t s = 0; s < segments; ++s) {
    if (lengths[s] < 0) return {0, s, -1};
    if (__builtin_add_overflow(total, static_cast<int64_t>(lengths[s]), &total)) return {0, -1, s};
  }
  return {total, -1, -1};
}

// The segment of an entry that some segment has.
template <typename Index>
SegmentCursor FindSegment(const Index* lengths, const SegmentTable& table, int64_t entry) {
  const int64_t* const behind = std::upper_bound(table.before, table.before + table.pieces, entry);
  const int64_t piece = behind - table.before - 1;
  int64_t segment = piece * table.each;
  int64_t end = table.before[piece] + static_cast<int64_t>(lengths[segment]);
  while (end <= entry) end += static_cast<int64_t>(lengths[++segment]);
  return {segment, end - entry};
}

}  // namespace

template <typename Index>
LengthsSum SumLengths(
    const Index* lengths, int64_t segments, SegmentTable* table, ParallelFor parallel_for) {
  constexpr int64_t kLeastEach = 4096;
  const int64_t each = std::max(kLeastEach, (segments + kMaxPieces - 1) / kMaxPieces);
  int64_t* const before = table->before;
  table->each = each;
  table->pieces = (segments + each - 1) / each;
  // Has the sign bit of every negative length, and is no less than any other. Sums wrap
  // round where lengths are wrong.
  std::atomic<Index> any{0};
  parallel_for(
      0, table->pieces, GrainFor(each * int64_t{sizeof(Index)}),
      [=, &any](int64_t first, int64_t last) {
        Index any_here = 0;
        for (int64_t piece = first; piece < last; ++piece) {
          const int64_t end = std::min(segments, (piece + 1) * each);
          uint64_t sum = 0;
          for (int64_t s = piece * each; s < end; ++s) {
            any_here |= lengths[s];
            sum += static_cast<uint64_t>(lengths[s]);
          }
          before[piece] = static_cast<int64_t>(sum);
        }
        any |= any_here;
      });
  if (any < 0 || (segments > 0 && int64_t{any} > std::numeric_limits<int64_t>::max() / segments)) {
    return SumWithChecks(lengths, segments);
  }
  return {ExclusiveSum(before, table->pieces), -1, -1};
}

template <typename Index>
int64_t CountTrueInSegments(
    const bool* mask, int64_t entries, const Index* lengths, int64_t segments,
    const SegmentTable& table, Index* counts, int64_t* offsets, ParallelFor parallel_for) {
  if (entries == 0) {
    std::fill(counts, counts + segments, Index{0});
    return 0;
  }
  struct Carry {
    int64_t segment;
    int64_t count;
  };
  Carry carries[kMaxGroups];
  const int64_t each = GroupEntries(entries);
  const int64_t groups = (entries + each - 1) / each;
  parallel_for(0, groups, GrainFor(each), [=, &table, &carries](int64_t first, int64_t last) {
    SegmentCursor cursor = FindSegment(lengths, table, first * each);
    // A group also writes the empty segments behind its last; these come before the first.
    if (first == 0) std::fill(counts, counts + cursor.segment, Index{0});
    for (int64_t group = first; group < last; ++group) {
      Carry& carry = carries[group];
      carry.segment = cursor.segment;
      carry.count = CountGroup(
          mask, group * each, std::min(entries, (group + 1) * each), lengths, segments, &cursor,
          counts, offsets);
    }
  });
  for (int64_t group = 0; group < groups; ++group) {
    counts[carries[group].segment] += static_cast<Index>(carries[group].count);
  }
  return offsets == nullptr ? 0 : ExclusiveSum(offsets, NumChunks(entries));
}

template <typename Index>
void CountTrueInRows(
    const bool* mask, int64_t rows, int64_t columns, Index* counts, ParallelFor parallel_for) {
  if (columns < 2 * kGrainBytes) {
    parallel_for(0, rows, GrainFor(columns), [=](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        counts[r] = static_cast<Index>(CountTrue(mask + r * columns, columns));
      }
    });
    return;
  }
  // Rows of some grains are shared, each by as many threads as come.
  const int64_t parts = columns / kGrainBytes;
  std::fill(counts, counts + rows, Index{0});
  parallel_for(0, rows * parts, 1, [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = i / parts;
      const int64_t begin = i % parts * kGrainBytes;
      const int64_t end = (i + 1) % parts == 0 ? columns : begin + kGrainBytes;
      const int64_t count = CountTrue(mask + row * columns + begin, end - begin);
      __atomic_fetch_add(counts + row, static_cast<Index>(count), __ATOMIC_RELAXED);
    }
  });
}

template LengthsSum SumLengths(const int32_t*, int64_t, SegmentTable*, ParallelFor);
template LengthsSum SumLengths(const int64_t*, int64_t, SegmentTable*, ParallelFor);
template int64_t CountTrueInSegments(
    const bool*, int64_t, const int32_t*, int64_t, const SegmentTable&, int32_t*, int64_t*,
    ParallelFor);
template int64_t CountTrueInSegments(
    const bool*, int64_t, const int64_t*, int64_t, const SegmentTable&, int64_t*, int64_t*,
    ParallelFor);
template void CountTrueInRows(const bool*, int64_t, int64_t, int32_t*, ParallelFor);
template void CountTrueInRows(const bool*, int64_t, int64_t, int64_t*, ParallelFor);

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
