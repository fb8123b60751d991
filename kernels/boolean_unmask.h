#pragma once

// Several masks and their values put together again. A position belongs to the
// first mask that is True there; a True behind another is shadowed.

#include <cstdint>

#include "kernels/parallel.h"

namespace caffe2op_mask {

// One mask of n entries. Its values are rows, either dense (one for each of the
// n positions) or compact (one for each position the mask owns, in order).
struct MaskedRows {
  const bool* mask;
  bool dense;
  int64_t* offsets;  // [NumChunks(n)]: rows owned before each chunk, by CountOwned
  int64_t owned;     // rows owned in all, by CountOwned
};

// Fills in `offsets` and `owned` of the k masks; returns how many of the n
// positions belong to none.
int64_t CountOwned(MaskedRows* masks, int64_t k, int64_t n, ParallelFor parallel_for);

// First position that belongs to none of the masks, or n.
int64_t FirstUnowned(const MaskedRows* masks, int64_t k, int64_t n);

// out[p] = the row of values[i] for p, i the owner of p; the fill
// (kernels/fill.h) where there is none.
void ExpandRows(
    const MaskedRows* masks, int64_t k, int64_t n, int64_t row_bytes, const void* const* values,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for);

// The way back: each row data[p] to its place in values[i], i the owner of p;
// dense rows that are not owned become zeros. Null values are passed over.
void SplitRows(
    const MaskedRows* masks, int64_t k, int64_t n, int64_t row_bytes, const void* data,
    void* const* values, ParallelFor parallel_for);

}  // namespace caffe2op_mask
