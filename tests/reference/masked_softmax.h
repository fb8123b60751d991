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

// The greatest kept score of a row that is not empty, and the logarithm of the sum of
// exp(score - greatest).
struct LogSum {
  long double greatest;
  long double log;
};

inline LogSum LogSumOf(const std::vector<long double>& scores, const std::vector<bool>& kept) {
  long double max = -std::numeric_limits<long double>::infinity();
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) max = std::fmax(max, scores[j]);
  }
  // Beside the greatest, so that the logarithm of a sum near 1 loses nothing.
  long double rest = -1;
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) rest += std::exp(scores[j] - max);
  }
  return {max, std::log1p(rest)};
}

// Logarithm of the sum of exp(score) over what is kept: -inf of an empty row.
inline long double LogSumExp(
    const std::vector<long double>& scores, const std::vector<bool>& kept) {
  if (IsEmptyRow(scores, kept)) return -std::numeric_limits<long double>::infinity();
  const LogSum sum = LogSumOf(scores, kept);
  return sum.greatest + sum.log;
}

// Logarithms of the softmax, -inf where masked; all of an empty row are `empty`.
inline std::vector<long double> LogSoftmaxRow(
    const std::vector<long double>& scores, const std::vector<bool>& kept, long double empty) {
  if (IsEmptyRow(scores, kept)) return std::vector<long double>(scores.size(), empty);
  const LogSum sum = LogSumOf(scores, kept);
  std::vector<long double> y(scores.size(), -std::numeric_limits<long double>::infinity());
  for (size_t j = 0; j < scores.size(); ++j) {
    if (kept[j]) y[j] = scores[j] - sum.greatest - sum.log;
  }
  return y;
}

// What flows to the scores of a row that is not empty, whose softmax is p: of the gradient of
// the softmax or of its logarithm, and of that of the log-sum-exp.
inline std::vector<long double> SoftmaxGradientRow(
    const std::vector<long double>& p, const std::vector<long double>& dy,
    const std::vector<bool>& kept, bool log, long double d_lse) {
  long double dot = -d_lse;
  for (size_t j = 0; j < p.size(); ++j) {
    if (kept[j]) dot += log ? dy[j] : p[j] * dy[j];
  }
  std::vector<long double> ds(p.size(), 0);
  for (size_t j = 0; j < p.size(); ++j) {
    if (kept[j]) ds[j] = log ? dy[j] - p[j] * dot : p[j] * (dy[j] - dot);
  }
  return ds;
}

}  // namespace reference
}  // namespace caffe2op_mask
