#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/gate.h"
#include "tests/reference/random.h"
#include "tests/reference/real.h"

namespace caffe2op_mask {
namespace reference {

inline double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

inline double SigmoidSlope(double x) {
  return std::exp(-std::fabs(x)) / std::pow(1 + std::exp(-std::fabs(x)), 2);
}

// g of entry i, whose logit is z, and its derivative. Not for kSoftmax.
struct GateValue {
  double g;
  double slope;
};

inline GateValue GateOf(const GateFunction& f, double z, double threshold, int64_t i) {
  switch (f.kind) {
    case GateKind::kSigmoid: return {Sigmoid(z), SigmoidSlope(z)};
    case GateKind::kTanh: return {std::tanh(z), 4 * SigmoidSlope(2 * z)};
    case GateKind::kRelu: return {std::max(0.0, z - threshold), z > threshold ? 1.0 : 0.0};
    case GateKind::kHard:
      return {z > 0 ? 1.0 : 0.0, f.clip > 0 && std::fabs(z) > f.clip ? 0 : SigmoidSlope(z)};
    case GateKind::kHardConcrete: {
      double beta = 1;
      if (f.noisy) {
        const double u = UnitOf(f.noise.seed, f.noise.run, i);
        z = (z + std::log(u) - std::log(1 - u)) / f.beta;
        beta = f.beta;
      }
      const double g = Sigmoid(z) * (f.zeta - f.gamma) + f.gamma;
      if (g <= 0 || g >= 1) return {g <= 0 ? 0.0 : 1.0, 0};
      return {g, SigmoidSlope(z) * (f.zeta - f.gamma) / beta};
    }
    case GateKind::kSoftmax: break;
  }
  return {};
}

// What the softmax of kSoftmax is taken of.
inline Doubles LogitsOf(const GateFunction& f, const Doubles& z) {
  Doubles logits = z;
  for (size_t e = 0; e < z.size(); ++e) {
    if (f.noisy) {
      const double u = UnitOf(f.noise.seed, f.noise.run, static_cast<int64_t>(e));
      logits[e] -= std::log(-std::log(u));
    }
    logits[e] /= f.tau;
  }
  return logits;
}

// 1 at the greatest, the first of equals; NaN where the softmax is.
inline void Choose(double* row, int64_t columns) {
  int64_t best = 0;
  bool valid = true;
  for (int64_t j = 0; j < columns; ++j) {
    if (row[j] > row[best]) best = j;
    valid = valid && row[j] < std::numeric_limits<double>::infinity();
  }
  valid = valid && row[best] > -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < columns; ++j) row[j] = valid ? (j == best ? 1 : 0) : std::nan("");
}

inline void Softmax(double* row, int64_t columns) {
  const double largest = *std::max_element(row, row + columns);
  long double sum = 0;  // of which double would lose a few of its last bits
  for (int64_t j = 0; j < columns; ++j) sum += row[j] = std::exp(row[j] - largest);
  for (int64_t j = 0; j < columns; ++j) row[j] = static_cast<double>(row[j] / sum);
}

// All that a gate gives and, from d_y and d_g, its gradients; each with the sum of
// the magnitudes of what was added up to it, which is what rounding is relative to.
struct GateResult {
  Doubles y, g, d_x, d_carry, d_z, d_threshold;
  Doubles d_z_scale, d_threshold_scale;
};

// x, carry (or empty), d_y are of one size, to entry i of which belongs entry
// z_at[i] of z, and to entry e of that entry threshold_at[e] of threshold.
inline GateResult Gate(
    const GateFunction& f, const Doubles& x, const Doubles& carry, const Doubles& z,
    const std::vector<size_t>& z_at, int64_t columns, const Doubles& threshold,
    const std::vector<size_t>& threshold_at, const Doubles& d_y, const Doubles& d_g) {
  GateResult out;
  Doubles slope(z.size());
  out.g = z;
  Doubles soft;  // what the gradient of kSoftmax is made of
  if (f.kind == GateKind::kSoftmax) {
    soft = out.g = LogitsOf(f, z);
    for (size_t i = 0; i < z.size(); i += static_cast<size_t>(columns)) {
      Softmax(soft.data() + i, columns);
      if (f.hard) Choose(out.g.data() + i, columns);
    }
    if (!f.hard) out.g = soft;
  } else {
    for (size_t e = 0; e < z.size(); ++e) {
      const double t = threshold.empty() ? 0 : threshold[threshold_at[e]];
      const GateValue value = GateOf(f, z[e], t, static_cast<int64_t>(e));
      out.g[e] = value.g;
      slope[e] = value.slope;
    }
  }
  const bool masks = f.masks();
  const auto weigh = [masks](double weight, double value) {
    return masks && weight == 0 ? 0 : weight * value;
  };
  Doubles d_gate = d_g.empty() ? Doubles(z.size()) : d_g;
  Doubles scale(z.size());
  for (size_t e = 0; e < z.size(); ++e) scale[e] = std::fabs(d_gate[e]);
  for (size_t i = 0; i < x.size(); ++i) {
    const double g = out.g[z_at[i]];
    const double other = carry.empty() ? 0 : carry[i];
    out.y.push_back(weigh(g, x[i]) + (carry.empty() ? 0 : weigh(1 - g, other)));
    out.d_x.push_back(weigh(g, d_y[i]));
    out.d_carry.push_back(weigh(1 - g, d_y[i]));
    d_gate[z_at[i]] += d_y[i] * (x[i] - other);
    scale[z_at[i]] += std::fabs(d_y[i]) * (std::fabs(x[i]) + std::fabs(other));
  }
  out.d_z.resize(z.size());
  out.d_z_scale = scale;
  for (size_t e = 0; e < z.size(); ++e) {
    out.d_z[e] = masks && slope[e] == 0 ? 0 : slope[e] * d_gate[e];
    out.d_z_scale[e] = slope[e] * scale[e];
  }
  if (f.kind == GateKind::kSoftmax) {
    for (size_t i = 0; i < z.size(); i += static_cast<size_t>(columns)) {
      double sum = 0;
      double sum_scale = 0;
      for (size_t e = i; e < i + static_cast<size_t>(columns); ++e) {
        sum += soft[e] * d_gate[e];
        sum_scale += soft[e] * scale[e];
      }
      for (size_t e = i; e < i + static_cast<size_t>(columns); ++e) {
        out.d_z[e] = soft[e] * (d_gate[e] - sum) / f.tau;
        out.d_z_scale[e] = soft[e] * (scale[e] + sum_scale) / f.tau;
      }
    }
  }
  out.d_threshold.resize(threshold.size());
  out.d_threshold_scale.resize(threshold.size());
  for (size_t e = 0; e < z.size() && !threshold.empty(); ++e) {
    out.d_threshold[threshold_at[e]] -= out.d_z[e];
    out.d_threshold_scale[threshold_at[e]] += out.d_z_scale[e];
  }
  return out;
}

}  // namespace reference
}  // namespace caffe2op_mask
