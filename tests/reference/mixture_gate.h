#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "tests/reference/gate.h"

namespace caffe2op_mask {
namespace reference {

struct MixtureResult {
  Doubles y, g, d_e, d_z;
  Doubles y_scale, d_z_scale;
};

inline MixtureResult MixtureGate(
    const Doubles& e, const Doubles& z, int64_t rows, int64_t experts, int64_t columns,
    int64_t top_k, bool renormalize, const Doubles& bias, const Doubles& d_y, const Doubles& d_g) {
  MixtureResult out;
  out.g = z;
  out.d_z.resize(z.size());
  out.d_z_scale.resize(z.size());
  out.d_e.resize(e.size());
  out.y.resize(static_cast<size_t>(rows * columns));
  out.y_scale.resize(out.y.size());
  const auto k_size = static_cast<size_t>(experts);
  const auto d_size = static_cast<size_t>(columns);
  for (size_t n = 0; n < static_cast<size_t>(rows); ++n) {
    double* const g = out.g.data() + n * k_size;
    Softmax(g, experts);
    Doubles softmax(g, g + k_size);
    Doubles keys(
        z.begin() + static_cast<int64_t>(n * k_size),
        z.begin() + static_cast<int64_t>((n + 1) * k_size));
    for (size_t k = 0; k < bias.size(); ++k) keys[k] = softmax[k] + bias[k];
    std::vector<size_t> order(k_size);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(
        order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] > keys[b]; });
    long double kept = 0;  // of which double would lose a few of its last bits
    for (size_t i = 0; i < static_cast<size_t>(top_k); ++i) kept += g[order[i]];
    for (size_t i = static_cast<size_t>(top_k); i < k_size; ++i) g[order[i]] = 0;
    if (renormalize) {
      for (size_t k = 0; k < k_size; ++k)
        softmax[k] = g[k] = g[k] == 0 ? 0 : static_cast<double>(g[k] / kept);
    }
    Doubles d_weight(k_size);
    Doubles scale(k_size);
    double sum = 0;
    double sum_scale = 0;
    for (size_t k = 0; k < k_size; ++k) {
      if (g[k] == 0) continue;
      if (!d_g.empty()) d_weight[k] = d_g[n * k_size + k];
      scale[k] = std::fabs(d_weight[k]);
      for (size_t d = 0; d < d_size; ++d) {
        const double value = e[(n * k_size + k) * d_size + d];
        out.y[n * d_size + d] += g[k] * value;
        out.y_scale[n * d_size + d] += g[k] * std::fabs(value);
        out.d_e[(n * k_size + k) * d_size + d] = g[k] * d_y[n * d_size + d];
        d_weight[k] += value * d_y[n * d_size + d];
        scale[k] += std::fabs(value * d_y[n * d_size + d]);
      }
      sum += softmax[k] * d_weight[k];
      sum_scale += softmax[k] * scale[k];
    }
    for (size_t k = 0; k < k_size; ++k) {
      out.d_z[n * k_size + k] = softmax[k] * (d_weight[k] - sum);
      out.d_z_scale[n * k_size + k] = softmax[k] * (scale[k] + sum_scale);
    }
  }
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
