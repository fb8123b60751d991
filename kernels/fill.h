#pragma once

// Spans of bytes: one element written again and again, or copied.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/functors.h"

namespace caffe2op_mask {

// An element of 1, 2, 4 or 8 bytes repeated to 8, so that code which fills need
// not know its width. 0 fills with zeros for an element of any width.
template <typename T>
uint64_t FillPattern(T value) {
  static_assert(8 % sizeof(T) == 0, "an element divides 8 bytes");
  uint64_t pattern = 0;
  for (size_t i = 0; i < sizeof(pattern); i += sizeof(T)) {
    std::memcpy(reinterpret_cast<char*>(&pattern) + i, &value, sizeof(T));
  }
  return pattern;
}

// How an output is written. An ordinary store reads the line it writes to first,
// which is wasted where all of it is overwritten; a streaming store does not, but
// leaves nothing in the cache for the operator that comes next.
enum class Stores { kCached, kStreamed };

// Streamed for outputs that would not stay in the last-level cache anyway.
Stores StoresFor(int64_t output_bytes);

// Streaming stores are ordered with nothing: call this after the last of them, on
// the thread that made them.
void FinishStores(Stores stores);

// Fills out[0, bytes), `bytes` a multiple of the element's width.
void FillSpan(uint64_t pattern, int64_t bytes, uint8_t* out, Stores stores = Stores::kCached);

// Copies in[0, bytes) to `out`, which does not overlap it.
void CopySpan(const uint8_t* in, int64_t bytes, uint8_t* out, Stores stores = Stores::kCached);

// Writes out[0, bytes): in[i] inside [keep_begin, keep_end), the fill outside.
// All offsets are multiples of the element's width; `out` is either `in`, then
// the kept part is not touched, or does not overlap it.
void MaskSpan(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out, Stores stores = Stores::kCached);

// The same for `count` spans of `bytes` on end, the i-th keeping what `kept[i]`
// says in units of `unit` bytes.
void MaskSpans(
    const uint8_t* in, int64_t bytes, const Interval* kept, int64_t unit, int64_t count,
    uint64_t fill_pattern, uint8_t* out, Stores stores = Stores::kCached);

}  // namespace caffe2op_mask
