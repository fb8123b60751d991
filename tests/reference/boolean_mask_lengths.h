#pragma once

#include "tests/reference/bytes.h"

namespace caffe2op_mask {
namespace reference {

template <typename Index>
std::vector<Index> CountTrueInSegments(const Bytes& mask, const std::vector<Index>& lengths) {
  std::vector<Index> counts;
  size_t position = 0;
  for (const Index length : lengths) {
    Index count = 0;
    for (Index i = 0; i < length; ++i) {
      if (mask[position++] != 0) ++count;
    }
    counts.push_back(count);
  }
  return counts;
}

}  // namespace reference
}  // namespace caffe2op_mask
