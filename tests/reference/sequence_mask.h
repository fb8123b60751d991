#pragma once

#include "tests/reference/bytes.h"
#include "tests/reference/fill.h"

namespace caffe2op_mask {
namespace reference {

// `in` seen as [left, masked_dims, repeated_dims] elements of `width` bytes,
// filled where keeps(row, column) is false.
template <class Keeps>
Bytes RepeatedMask(
    size_t left, size_t masked_dims, size_t repeated_dims, size_t width, const Bytes& in,
    const Keeps& keeps, uint64_t fill_pattern) {
  const size_t column_bytes = repeated_dims * width;
  Bytes out = in;
  for (size_t i = 0; i < left; ++i) {
    for (size_t j = 0; j < masked_dims; ++j) {
      if (keeps(static_cast<int64_t>(i), static_cast<int64_t>(j))) continue;
      FillBytes(fill_pattern, (i * masked_dims + j) * column_bytes, column_bytes, &out);
    }
  }
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
