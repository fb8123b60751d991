#pragma once

#include "tests/reference/bytes.h"
#include "tests/reference/fill.h"

namespace caffe2op_mask {
namespace reference {

// Position in a mask of the entry that covers element `position` of the data,
// by the index of each dim; a mask dim of 1 has but the index 0.
inline size_t MaskPosition(
    const std::vector<int64_t>& data_dims, const std::vector<int64_t>& mask_dims, size_t position) {
  std::vector<size_t> index(data_dims.size());
  for (size_t d = data_dims.size(); d-- > 0;) {
    const auto size = static_cast<size_t>(data_dims[d]);
    index[d] = position % size;
    position /= size;
  }
  size_t entry = 0;
  for (size_t d = 0; d < mask_dims.size(); ++d) {
    entry = entry * static_cast<size_t>(mask_dims[d]) + (mask_dims[d] == 1 ? 0 : index[d]);
  }
  return entry;
}

inline Bytes MaskedFill(
    const Bytes& mask, const std::vector<int64_t>& data_dims, const std::vector<int64_t>& mask_dims,
    size_t width, const Bytes& in, uint64_t fill_pattern) {
  Bytes out = in;
  for (size_t i = 0; i < in.size() / width; ++i) {
    if (mask[MaskPosition(data_dims, mask_dims, i)] == 0) {
      FillBytes(fill_pattern, i * width, width, &out);
    }
  }
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
