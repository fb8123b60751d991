#pragma once

// Compaction: rows whose mask entry is True move together, in their order.

#include <cstdint>

#include "kernels/parallel.h"

namespace caffe2op_mask {

// Number of True in mask[0, n). offsets[c] becomes the number of True before
// chunk c, for each of the NumChunks(n) chunks (kernels/chunk.h).
int64_t ChunkOffsets(const bool* mask, int64_t n, int64_t* offsets, ParallelFor parallel_for);

// Writes the rows of `data` ([n] rows of `row_bytes`) whose entry is True to
// `out`, which holds just those and does not overlap `data`.
void CompressRows(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t row_bytes, const void* data,
    void* out, ParallelFor parallel_for);

// Writes the positions of True, ascending.
void CompressIndices(
    const bool* mask, int64_t n, const int64_t* offsets, int64_t* out, ParallelFor parallel_for);

}  // namespace caffe2op_mask
