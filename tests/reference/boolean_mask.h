#pragma once

#include "tests/reference/bytes.h"

namespace caffe2op_mask {
namespace reference {

inline int64_t CountTrue(const Bytes& mask) {
  int64_t count = 0;
  for (const uint8_t entry : mask) count += entry != 0 ? 1 : 0;
  return count;
}

inline Bytes CompressRows(const Bytes& mask, size_t row_bytes, const Bytes& data) {
  Bytes out;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    out.resize(out.size() + row_bytes);
    CopyBytes(data, i * row_bytes, row_bytes, &out, out.size() - row_bytes);
  }
  return out;
}

inline std::vector<int64_t> CompressIndices(const Bytes& mask) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) out.push_back(static_cast<int64_t>(i));
  }
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
