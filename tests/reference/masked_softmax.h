#pragma once

// One row of a masked softmax and of its gradient, in long double.

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace caffe2op_mask {
namespace reference {

// True where the row keeps nothing but -inf, if it keeps anything.
inline bool IsEmptyRow(const std::vector<long double>& scores, const std::vector<bool>& kept) {
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j] && scores[j] != -std::numeric_limits<long double>::infinity()) return false;
  }
  return true;
}

// What an empty row is filled with, `empty`, is none of its business.
inline std::vector<long double> SoftmaxRow(
    const std::vector<long double>& scores, const std::vector<bool>& kept, long double empty) {
  if (IsEmptyRow(scores, kept)) return std::vector<long double>(scores.size(), empty);
  long double max = -std::numeric_limits<long double>::infinity();
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) max = std::fmax(max, scores[j]);
  }
  // NaN, and infinity less itself, make the sum NaN and by that the row.
  long double sum = 0;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) sum += std::exp(scores[j] - max);
  }
  std::vector<long double> y(scores.size(), 0);
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) y[j] = std::exp(scores[j] - max) / sum;
  }
  return y;
}

// What flows to the scores of a row that is not empty: y (dy - sum of y dy).
inline std::vector<long double> SoftmaxGradientRow(
    const std::vector<long double>& y, const std::vector<long double>& dy,
    const std::vector<bool>& kept) {
  long double dot = 0;
  for (size_t j = 0; j < y.size(); ++j) {
    if (kept[j]) dot += y[j] * dy[j];
  }
  std::vector<long double> ds(y.size(), 0);
  for (size_t j = 0; j < y.size(); ++j) {
    if (kept[j]) ds[j] = y[j] * (dy[j] - dot);
  }
  return ds;
}

}  // namespace reference
}  // namespace caffe2op_mask
