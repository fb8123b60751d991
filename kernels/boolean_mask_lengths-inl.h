// Per-target code of kernels/boolean_mask_lengths.h; see its .cc.

#if defined(CAFFE2OP_MASK_KERNELS_BOOLEAN_MASK_LENGTHS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_BOOLEAN_MASK_LENGTHS_INL_H_
#undef CAFFE2OP_MASK_KERNELS_BOOLEAN_MASK_LENGTHS_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_BOOLEAN_MASK_LENGTHS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/boolean_mask_lengths.h"
#include "kernels/chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// Set bits in [begin, begin + length) of words that have one more behind them.
HWY_INLINE int64_t CountBits(const uint64_t* words, int64_t begin, int64_t length) {
  const uint64_t* word = words + begin / kWordEntries;
  const int64_t shift = begin % kWordEntries;
  // 64 bits from `begin` on, of two words, without a branch for where they lie.
  const auto bits = [&] { return word[0] >> shift | word[1] << 1 << (63 - shift); };
  int64_t count = 0;
  for (; length > kWordEntries; length -= kWordEntries, ++word) {
    count += __builtin_popcountll(bits());
  }
  return count + __builtin_popcountll(bits() & LowBits(length));
}

// Counts the segments of one group; see CountTrueInSegments.
template <typename Index>
HWY_INLINE void CountGroup(
    const bool* mask, int64_t entries, int64_t group, const Index* HWY_RESTRICT lengths,
    int64_t segments, GroupStart* start, Index* HWY_RESTRICT counts, int64_t* offsets) {
  const int64_t end = std::min(entries, (group + 1) * kGroupEntries);
  // Only the first segment can have begun in another group, which then writes its count.
  const int64_t first = start->segment;
  const bool carried = start->remaining != static_cast<int64_t>(lengths[first]);
  start->carry = 0;
  const auto write = [&](int64_t segment, int64_t count) HWY_ATTR {
    if (carried && segment == first) {
      start->carry = count;
    } else {
      counts[segment] = static_cast<Index>(count);
    }
  };
  int64_t s = first;                // the segment that is open,
  int64_t left = start->remaining;  // what of it is still to come
  int64_t count = 0;                // and what was counted in it, of
  int64_t seen = 0;                 // so many entries in this group.
  uint64_t words[kChunkWords + 1];
  words[kChunkWords] = 0;
  for (int64_t begin = group * kGroupEntries; begin < end; begin += kChunkEntries) {
    const int64_t in_chunk = std::min(kChunkEntries, end - begin);
    const int64_t kept = PackWords(mask + begin, in_chunk, words);
    if (offsets != nullptr) offsets[begin / kChunkEntries] = kept;
    if (left > in_chunk) {
      count += kept;
      seen += in_chunk;
      left -= in_chunk;
      continue;
    }
    write(s, count + CountBits(words, 0, left));
    int64_t position = left;
    // Segments that lie in the chunk whole; behind its last entry only empty ones do.
    for (++s; s < segments; ++s) {
      const auto length = static_cast<int64_t>(lengths[s]);
      if (length > in_chunk - position) break;
      counts[s] = static_cast<Index>(CountBits(words, position, length));
      position += length;
    }
    if (s == segments) return;
    seen = in_chunk - position;
    count = CountBits(words, position, seen);
    left = static_cast<int64_t>(lengths[s]) - seen;
  }
  // A segment that begins where the group ends is the next group's.
  if (seen > 0) write(s, count);
}

HWY_INLINE void CountGroup32(
    const bool* mask, int64_t entries, int64_t group, const int32_t* lengths, int64_t segments,
    GroupStart* start, int32_t* counts, int64_t* offsets) {
  CountGroup(mask, entries, group, lengths, segments, start, counts, offsets);
}

HWY_INLINE void CountGroup64(
    const bool* mask, int64_t entries, int64_t group, const int64_t* lengths, int64_t segments,
    GroupStart* start, int64_t* counts, int64_t* offsets) {
  CountGroup(mask, entries, group, lengths, segments, start, counts, offsets);
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
