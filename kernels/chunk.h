#pragma once

// A bool mask is worked on in chunks of 4096 entries: first its bits are packed
// into 64 words, then rows are moved by those words. Every operator that takes a
// bool mask is made of the functions here; this is where they get fast.

#include <algorithm>
#include <cstdint>

#include "kernels/parallel.h"

namespace caffe2op_mask {

constexpr int64_t kWordEntries = 64;
constexpr int64_t kChunkEntries = 4096;
constexpr int64_t kChunkWords = kChunkEntries / kWordEntries;

constexpr int64_t NumChunks(int64_t entries) {
  return (entries + kChunkEntries - 1) / kChunkEntries;
}

// Bits [0, count) set, count in [0, 64].
constexpr uint64_t LowBits(int64_t count) {
  return count >= kWordEntries ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// Runs f(chunk, begin, count) for the chunks of n entries; an entry moves
// about `entry_bytes`, from which the share of a thread is reckoned.
template <class F>
void ForEachChunk(int64_t n, int64_t entry_bytes, ParallelFor parallel_for, const F& f) {
  parallel_for(
      0, NumChunks(n), GrainFor(kChunkEntries * entry_bytes), [&](int64_t first, int64_t last) {
        for (int64_t chunk = first; chunk < last; ++chunk) {
          const int64_t begin = chunk * kChunkEntries;
          f(chunk, begin, std::min(kChunkEntries, n - begin));
        }
      });
}

// Replaces counts by the sum of those before each; returns the sum of all.
inline int64_t ExclusiveSum(int64_t* counts, int64_t n) {
  int64_t total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t count = counts[i];
    counts[i] = total;
    total += count;
  }
  return total;
}

// In what follows `count` <= kChunkEntries is the chunk's entries, `words` holds
// their bits (bits past `count` are 0), and a row is `row_bytes` > 0 bytes at
// any address. Sources and destinations do not overlap unless said.

// Packs mask[0, count). A byte that is not 0 is True, also one no bool holds.
// Writes only the words that hold entries and returns the number of True.
int64_t PackChunk(const bool* mask, int64_t count, uint64_t* words);

// Number of True in mask[0, n), any n.
int64_t CountTrue(const bool* mask, int64_t n);

// Rows of set entries, from rows[entry], to out one after the other.
void CompressChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out);

// Positions base + entry of set entries, ascending.
void IndexChunk(const uint64_t* words, int64_t count, int64_t base, int64_t* out);

// The inverse of CompressChunk: consecutive `rows` to out[entry] of set
// entries; the rest of `out` stays.
void ExpandChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out);

// rows[entry] to out[entry] of set entries; the rest of `out` stays.
void BlendChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out);

// rows[entry] to out[entry] of set entries, the fill (kernels/fill.h) to the
// others; `rows` may be `out`.
void SelectChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows,
    uint64_t fill_pattern, uint8_t* out);

}  // namespace caffe2op_mask
