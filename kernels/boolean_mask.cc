#include "kernels/boolean_mask.h"

#include "kernels/chunk.h"

namespace caffe2op_mask {

int64_t ChunkOffsets(const bool* mask, int64_t n, int64_t* offsets, ParallelFor parallel_for) {
  static_assert(PiecesAreChunks(1), "a chunk's count is one piece's");
  ForEachPiece(n, 1, Stores::kCached, parallel_for, [=](const ChunkPiece& piece) {
    offsets[piece.chunk] = CountTrue(mask + piece.begin, piece.count);
  });
  return ExclusiveSum(offsets, NumChunks(n));
}

void CompressRows(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t row_bytes, const void* data,
    void* out, ParallelFor parallel_for) {
  if (row_bytes == 0) return;
  const auto* const from = static_cast<const uint8_t*>(data);
  auto* const to = static_cast<uint8_t*>(out);
  const Stores stores = StoresFor(n * row_bytes);
  ForEachPiece(n, row_bytes, stores, parallel_for, [=](const ChunkPiece& piece) {
    uint64_t words[kChunkWords];
    if (PackChunk(mask + piece.begin, piece.count, words) == 0) return;
    int64_t row = offsets[piece.chunk];
    if (piece.before() > 0) row += CountTrue(mask + piece.begin - piece.before(), piece.before());
    CompressChunk(
        words, piece.count, row_bytes, from + piece.begin * row_bytes, to + row * row_bytes,
        stores);
  });
}

void CompressIndices(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t* out, ParallelFor parallel_for) {
  static_assert(PiecesAreChunks(sizeof(int64_t)), "a piece begins at its chunk's offset");
  ForEachPiece(n, sizeof(int64_t), Stores::kCached, parallel_for, [=](const ChunkPiece& piece) {
    uint64_t words[kChunkWords];
    PackChunk(mask + piece.begin, piece.count, words);
    IndexChunk(words, piece.count, piece.begin, out + offsets[piece.chunk]);
  });
}

}  // namespace caffe2op_mask
