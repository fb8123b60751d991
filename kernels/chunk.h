#pragma once

// A bool mask is worked on in chunks of 4096 entries: first its bits are packed
// into 64 words, then rows are moved by those words. Every operator that takes a
// bool mask is made of the functions here; this is where they get fast.

#include <algorithm>
#include <cstdint>

#include "kernels/fill.h"
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

// What a thread works on at a time: entries [begin, begin + count) of one chunk.
struct ChunkPiece {
  int64_t chunk;
  int64_t begin;
  int64_t count;

  // Entries of the chunk before the piece: some only where rows are long.
  int64_t before() const { return begin - chunk * kChunkEntries; }
};

// Entries of so many bytes are never cut within a chunk: each piece is a whole one.
constexpr bool PiecesAreChunks(int64_t entry_bytes) {
  return kChunkEntries * entry_bytes <= kGrainBytes;
}

// Runs f(piece) for pieces that cover n entries. An entry moves about
// `entry_bytes`, from which the share of a thread is reckoned; where chunks of
// them would be too large a share, a chunk is cut between words.
template <class F>
void ForEachPiece(
    int64_t n, int64_t entry_bytes, Stores stores, ParallelFor parallel_for, const F& f) {
  if (n <= kChunkEntries && n * entry_bytes <= kGrainBytes) {
    if (n > 0) f(ChunkPiece{0, 0, n});
    FinishStores(stores);
    return;
  }
  const int64_t unit = PiecesAreChunks(entry_bytes) ? kChunkEntries : kWordEntries;
  const int64_t units = (n + unit - 1) / unit;
  parallel_for(0, units, GrainFor(unit * entry_bytes), [&](int64_t first, int64_t last) {
    const int64_t end = std::min(n, last * unit);
    for (int64_t begin = first * unit; begin < end;) {
      const int64_t chunk = begin / kChunkEntries;
      const int64_t next = std::min(end, (chunk + 1) * kChunkEntries);
      f(ChunkPiece{chunk, begin, next - begin});
      begin = next;
    }
    FinishStores(stores);
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
// any address. Sources and destinations do not overlap unless said. Rows that are
// no single element are stored as `stores` says; who asks for streaming stores
// ends with FinishStores.

// Packs mask[0, count). A byte that is not 0 is True, also one no bool holds.
// Writes only the words that hold entries and returns the number of True.
int64_t PackChunk(const bool* mask, int64_t count, uint64_t* words);

// Leaves in `owned` what is in `left` too and takes it from there; returns how
// many bits that are.
int64_t ClaimChunk(int64_t count, uint64_t* left, uint64_t* owned);

// Number of True in mask[0, n), any n.
int64_t CountTrue(const bool* mask, int64_t n);

// Rows of set entries, from rows[entry], to out one after the other.
void CompressChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores = Stores::kCached);

// Positions base + entry of set entries, ascending.
void IndexChunk(const uint64_t* words, int64_t count, int64_t base, int64_t* out);

// The inverse of CompressChunk: consecutive `rows` to out[entry] of set
// entries; the rest of `out` stays.
void ExpandChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores = Stores::kCached);

// rows[entry] to out[entry] of set entries; the rest of `out` stays.
void BlendChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores = Stores::kCached);

// rows[entry] to out[entry] of set entries, the fill (kernels/fill.h) to the
// others; `rows` may be `out`.
void SelectChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows,
    uint64_t fill_pattern, uint8_t* out, Stores stores = Stores::kCached);

}  // namespace caffe2op_mask
