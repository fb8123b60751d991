#pragma once

// Fill where a bool mask is False; the mask is broadcast, never expanded.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// out = in where the mask is True, else the fill (kernels/fill.h); elements of
// `width` bytes. `out` is `in` or does not overlap it.
void MaskedFill(
    const bool* mask, const LeadingEntries& entries, int64_t width, const void* in,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for);

}  // namespace caffe2op_mask
