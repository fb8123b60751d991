#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/reference/rounded.h"

namespace caffe2op_mask {
namespace reference {

// alpha times the sum over k of a[i * a_row + k * a_column] b[k * b_row + j * b_column].
template <typename W>
Rounded<W> ProductEntry(
    int64_t i, int64_t j, int64_t k, double alpha, const std::vector<W>& a, int64_t a_row,
    int64_t a_column, const std::vector<W>& b, int64_t b_row, int64_t b_column = 1) {
  Sum<W> sum;
  for (int64_t step = 0; step < k; ++step) {
    const auto left = static_cast<size_t>(i * a_row + step * a_column);
    const auto right = static_cast<size_t>(step * b_row + j * b_column);
    sum.Add(Rounded<W>(a[left]) * Rounded<W>(b[right]));
  }
  return Rounded<W>(alpha) * sum.Total();
}

}  // namespace reference
}  // namespace caffe2op_mask
