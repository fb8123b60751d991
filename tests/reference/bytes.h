#pragma once

// The references are plain loops that say what the kernels of the same file
// name must do. They are for tests: slow, and never called in production.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace caffe2op_mask {
namespace reference {

// Memory, or a mask: an entry that is not 0 is True.
using Bytes = std::vector<uint8_t>;

inline void CopyBytes(const Bytes& from, size_t begin, size_t count, Bytes* to, size_t to_begin) {
  for (size_t b = 0; b < count; ++b) (*to)[to_begin + b] = from[begin + b];
}

}  // namespace reference
}  // namespace caffe2op_mask
