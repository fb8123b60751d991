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

// How many entries before any position of a chunk are set, from the word the
// position is in and the count before that word: the same work for a segment of
// any length.
class Ranks {
 public:
  // Packs mask[0, count); returns the number of True.
  HWY_INLINE int64_t Pack(const bool* mask, int64_t count) {
    const int64_t total = PackChunk(mask, count, words_);
    const int64_t words = (count + kWordEntries - 1) / kWordEntries;
    words_[words] = 0;  // of the position behind the last entry
    uint64_t before = 0;
    for (int64_t w = 0; w <= words; ++w) {
      before_[w] = before;
      before += static_cast<uint64_t>(__builtin_popcountll(words_[w]));
    }
    return total;
  }

  HWY_INLINE int64_t Before(int64_t position) const {
    const auto at = static_cast<uint64_t>(position);
    const uint64_t word = at / kWordEntries;
    const uint64_t below = (uint64_t{1} << (at % kWordEntries)) - 1;
    return static_cast<int64_t>(
        before_[word] + static_cast<uint64_t>(__builtin_popcountll(words_[word] & below)));
  }

 private:
  uint64_t words_[kChunkWords + 1];
  uint64_t before_[kChunkWords + 1];
};

// Counts the segments of the chunks of mask[begin, end), one group. The first of
// them is at the cursor, which goes on to the next group. What is counted for a
// segment that began before the group is not written but returned.
template <typename Index>
HWY_INLINE int64_t CountGroup(
    const bool* mask, int64_t begin, int64_t end, const Index* HWY_RESTRICT lengths,
    int64_t segments, SegmentCursor* cursor, Index* HWY_RESTRICT counts, int64_t* offsets) {
  const int64_t first = cursor->segment;
  const bool carried = cursor->remaining != static_cast<int64_t>(lengths[first]);
  int64_t carry = 0;
  const auto write = [&](int64_t segment, int64_t count) HWY_ATTR {
    if (carried && segment == first) {
      carry = count;
    } else {
      counts[segment] = static_cast<Index>(count);
    }
  };
  int64_t s = first;                 // the segment that is open,
  int64_t left = cursor->remaining;  // what of it is still to come
  int64_t count = 0;                 // and what was counted in it, of
  int64_t seen = 0;                  // so many entries in this group.
  Ranks ranks;
  for (; begin < end; begin += kChunkEntries) {
    const int64_t in_chunk = std::min(kChunkEntries, end - begin);
    const int64_t kept = ranks.Pack(mask + begin, in_chunk);
    if (offsets != nullptr) offsets[begin / kChunkEntries] = kept;
    if (left > in_chunk) {
      count += kept;
      seen += in_chunk;
      left -= in_chunk;
      continue;
    }
    int64_t position = left;
    int64_t before = ranks.Before(position);
    write(s, count + before);
    // Segments that lie in the chunk whole; behind its last entry only empty ones do.
    const auto whole = [&](int64_t length) HWY_ATTR {
      position += length;
      const int64_t upto = ranks.Before(position);
      counts[s++] = static_cast<Index>(upto - before);
      before = upto;
    };
    // Several are asked at once whether they do, until one does not.
    constexpr int64_t kAtOnce = 4;
    ++s;
    while (s + kAtOnce <= segments) {
      int64_t sum = 0;
      for (int64_t i = 0; i < kAtOnce; ++i) sum += static_cast<int64_t>(lengths[s + i]);
      if (sum > in_chunk - position) break;
      for (int64_t i = 0; i < kAtOnce; ++i) whole(static_cast<int64_t>(lengths[s]));
    }
    while (s < segments && static_cast<int64_t>(lengths[s]) <= in_chunk - position) {
      whole(static_cast<int64_t>(lengths[s]));
    }
    if (s == segments) return carry;
    seen = in_chunk - position;
    count = kept - before;
    left = static_cast<int64_t>(lengths[s]) - seen;
  }
  // A segment that begins where the group ends is the next group's.
  if (seen > 0) write(s, count);
  *cursor = {s, left};
  return carry;
}

// Of names of their own: what is overloaded or a template cannot be exported.
HWY_INLINE int64_t CountGroup32(
    const bool* mask, int64_t begin, int64_t end, const int32_t* lengths, int64_t segments,
    SegmentCursor* cursor, int32_t* counts, int64_t* offsets) {
  return CountGroup(mask, begin, end, lengths, segments, cursor, counts, offsets);
}

HWY_INLINE int64_t CountGroup64(
    const bool* mask, int64_t begin, int64_t end, const int64_t* lengths, int64_t segments,
    SegmentCursor* cursor, int64_t* counts, int64_t* offsets) {
  return CountGroup(mask, begin, end, lengths, segments, cursor, counts, offsets);
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
