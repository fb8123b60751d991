#pragma once

#include <ATen/SmallVector.h>

#include "kernels/chunk.h"

namespace caffe2 {
namespace mask {

using Offsets = c10::SmallVector<int64_t, 8>;

// Room for what ChunkOffsets (kernels/boolean_mask.h) writes, made anew in each run:
// that of a small mask is on the stack. Kept from run to run it would be one more place
// in memory to fetch, which costs a small operator as much as its work does.
inline Offsets OffsetsFor(int64_t entries) {
  return Offsets(static_cast<size_t>(caffe2op_mask::NumChunks(entries)));
}

}  // namespace mask
}  // namespace caffe2
