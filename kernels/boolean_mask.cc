#include "kernels/boolean_mask.h"

#include "kernels/chunk.h"

namespace caffe2op_mask {

int64_t ChunkOffsets(const bool* mask, int64_t n, int64_t* offsets, ParallelFor parallel_for) {
  ForEachChunk(n, 1, parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    offsets[chunk] = CountTrue(mask + begin, count);
  });
  return ExclusiveSum(offsets, NumChunks(n));
}

void CompressRows(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t row_bytes, const void* data,
    void* out, ParallelFor parallel_for) {
  if (row_bytes == 0) return;
  const auto* const from = static_cast<const uint8_t*>(data);
  auto* const to = static_cast<uint8_t*>(out);
  ForEachChunk(n, row_bytes, parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    uint64_t words[kChunkWords];
    PackChunk(mask + begin, count, words);
    CompressChunk(
        words, count, row_bytes, from + begin * row_bytes, to + offsets[chunk] * row_bytes);
  });
}

void CompressIndices(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t* out, ParallelFor parallel_for) {
  ForEachChunk(n, sizeof(int64_t), parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    uint64_t words[kChunkWords];
    PackChunk(mask + begin, count, words);
    IndexChunk(words, count, begin, out + offsets[chunk]);
  });
}

}  // namespace caffe2op_mask
