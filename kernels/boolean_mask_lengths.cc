#include "kernels/boolean_mask_lengths.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/boolean_mask_lengths.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/boolean_mask_lengths-inl.h"
// clang-format on

#if HWY_ONCE

#include <algorithm>
#include <limits>

namespace caffe2op_mask {
namespace {

HWY_EXPORT(CountGroup32);
HWY_EXPORT(CountGroup64);

void CountGroup(
    const bool* mask, int64_t entries, int64_t group, const int32_t* lengths, int64_t segments,
    GroupStart* start, int32_t* counts, int64_t* offsets) {
  HWY_DYNAMIC_DISPATCH(CountGroup32)
  (mask, entries, group, lengths, segments, start, counts, offsets);
}

void CountGroup(
    const bool* mask, int64_t entries, int64_t group, const int64_t* lengths, int64_t segments,
    GroupStart* start, int64_t* counts, int64_t* offsets) {
  HWY_DYNAMIC_DISPATCH(CountGroup64)
  (mask, entries, group, lengths, segments, start, counts, offsets);
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

}  // namespace

template <typename Index>
LengthsSum SumLengths(const Index* lengths, int64_t segments, int64_t entries, GroupStart* starts) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const int64_t groups = NumGroups(entries);
  int64_t group = 0;
  int64_t boundary = groups > 0 ? 0 : kMax;  // first entry of the next group
  uint64_t total = 0;
  Index any = 0;  // has the sign bit of every negative length, and is no less than any other
  // Blocks are added up without looking; few of them hold the boundary of a group.
  constexpr int64_t kBlock = 64;
  for (int64_t begin = 0; begin < segments; begin += kBlock) {
    const int64_t end = std::min(segments, begin + kBlock);
    uint64_t sum = 0;
    for (int64_t s = begin; s < end; ++s) {
      any |= lengths[s];
      sum += static_cast<uint64_t>(lengths[s]);
    }
    uint64_t before = total;
    total += sum;
    if (static_cast<int64_t>(total) <= boundary) continue;
    for (int64_t s = begin; s < end; ++s) {
      before += static_cast<uint64_t>(lengths[s]);
      for (const auto reached = static_cast<int64_t>(before); reached > boundary;) {
        starts[group] = {s, reached - boundary, 0};
        boundary = ++group < groups ? group * kGroupEntries : kMax;
      }
    }
  }
  if (any < 0 || (segments > 0 && static_cast<int64_t>(any) > kMax / segments)) {
    return SumWithChecks(lengths, segments);
  }
  return {static_cast<int64_t>(total), -1, -1};
}

template <typename Index>
int64_t CountTrueInSegments(
    const bool* mask, int64_t entries, const Index* lengths, int64_t segments, GroupStart* starts,
    Index* counts, int64_t* offsets, ParallelFor parallel_for) {
  const int64_t groups = NumGroups(entries);
  // A group also writes the empty segments behind its last; these come before the first.
  std::fill(counts, counts + (groups > 0 ? starts[0].segment : segments), Index{0});
  parallel_for(0, groups, GrainFor(kGroupEntries), [=](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; ++group) {
      CountGroup(mask, entries, group, lengths, segments, starts + group, counts, offsets);
    }
  });
  for (int64_t group = 0; group < groups; ++group) {
    counts[starts[group].segment] += static_cast<Index>(starts[group].carry);
  }
  return offsets == nullptr ? 0 : ExclusiveSum(offsets, NumChunks(entries));
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

template LengthsSum SumLengths(const int32_t*, int64_t, int64_t, GroupStart*);
template LengthsSum SumLengths(const int64_t*, int64_t, int64_t, GroupStart*);
template int64_t CountTrueInSegments(
    const bool*, int64_t, const int32_t*, int64_t, GroupStart*, int32_t*, int64_t*, ParallelFor);
template int64_t CountTrueInSegments(
    const bool*, int64_t, const int64_t*, int64_t, GroupStart*, int64_t*, int64_t*, ParallelFor);
template void CountTrueInRows(const bool*, int64_t, int64_t, int32_t*, ParallelFor);
template void CountTrueInRows(const bool*, int64_t, int64_t, int64_t*, ParallelFor);

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
