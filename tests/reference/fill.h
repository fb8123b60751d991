#pragma once

#include <cstring>

#include "tests/reference/bytes.h"

namespace caffe2op_mask {
namespace reference {

// Writes `count` bytes at `begin` as if all of `to` held the pattern's element
// again and again.
inline void FillBytes(uint64_t pattern, size_t begin, size_t count, Bytes* to) {
  uint8_t element[sizeof(pattern)];
  std::memcpy(element, &pattern, sizeof(pattern));
  for (size_t b = begin; b < begin + count; ++b) (*to)[b] = element[b % sizeof(pattern)];
}

inline Bytes MaskSpan(const Bytes& in, size_t keep_begin, size_t keep_end, uint64_t pattern) {
  Bytes out = in;
  FillBytes(pattern, 0, keep_begin, &out);
  FillBytes(pattern, keep_end, in.size() - keep_end, &out);
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
