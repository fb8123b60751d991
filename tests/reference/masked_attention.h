#pragma once

// Masked attention and its gradient, score by score as they are defined, with bounds
// on what arithmetic of type W may lose.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "kernels/masked_softmax.h"
#include "tests/reference/rounded.h"

namespace caffe2op_mask {
namespace reference {

struct AttentionInputs {
  size_t batch;
  size_t heads;
  size_t kv_heads;
  size_t queries;
  size_t keys;
  size_t depth;
  size_t value_depth;
  std::vector<double> q;
  std::vector<double> k;
  std::vector<double> v;
  double scale;
  double softcap;
  std::vector<double> bias;
  std::vector<size_t> bias_entries;  // for each score, none where there is no bias
  std::vector<double> sinks;         // for each head, or none
  std::vector<bool> kept;            // for each score
  EmptyRow empty_row;

  size_t Rows() const { return batch * heads * queries; }

  // Of a row, -inf where it has none.
  double Sink(size_t row) const {
    return sinks.empty() ? -std::numeric_limits<double>::infinity() : sinks[row / queries % heads];
  }

  // Where a row finds its first row of k and v.
  size_t FirstKey(size_t row) const {
    const size_t head = row / queries;
    return (head / heads * kv_heads + head % heads / (heads / kv_heads)) * keys;
  }
};

template <typename W>
struct AttentionRow {
  std::vector<Rounded<W>> scores;
  std::vector<Rounded<W>> slopes;  // of the softcap
  bool empty;
  Rounded<W> lse;
  std::vector<Rounded<W>> o;
};

template <typename W>
AttentionRow<W> RowOf(const AttentionInputs& in, size_t row) {
  AttentionRow<W> result;
  result.scores.resize(in.keys);
  result.slopes.resize(in.keys);
  const double sink = in.Sink(row);
  result.empty = sink == -std::numeric_limits<double>::infinity();
  Rounded<W> max(std::isnan(sink) ? -std::numeric_limits<double>::infinity() : sink);
  const size_t first = in.FirstKey(row);
  const auto kept = [&](size_t j) { return in.kept[row * in.keys + j]; };
  for (size_t j = 0; j < in.keys; ++j) {
    if (!kept(j)) continue;
    Rounded<W> score =
        Dot<W>(in.q.data() + row * in.depth, 1, in.k.data() + (first + j) * in.depth, 1, in.depth) *
        Rounded<W>(in.scale);
    result.slopes[j] = Rounded<W>(1);
    if (in.softcap != 0) {
      const Rounded<W> t = Tanh(score / Rounded<W>(in.softcap));
      score = Rounded<W>(in.softcap) * t;
      result.slopes[j] = Rounded<W>(1) - t * t;
    }
    if (!in.bias_entries.empty()) {
      score = score + Rounded<W>(in.bias[in.bias_entries[row * in.keys + j]]);
    }
    result.scores[j] = score;
    if (score.value == -std::numeric_limits<double>::infinity()) continue;
    result.empty = false;
    max.value = std::fmax(max.value, score.value);
    max.error = std::fmax(max.error, score.error);
  }
  result.o.resize(in.value_depth);
  if (result.empty) {
    result.lse = Rounded<W>(-std::numeric_limits<double>::infinity());
    for (size_t i = 0; i < in.value_depth; ++i) {
      Sum<W> sum;
      for (size_t j = 0; j < in.keys; ++j) {
        sum.Add(Rounded<W>(in.v[(first + j) * in.value_depth + i]));
      }
      const bool uniform = in.empty_row == EmptyRow::kUniform && in.keys > 0;
      const bool nan = in.empty_row == EmptyRow::kNaN && in.keys > 0;
      result.o[i] = uniform ? sum.Total() / Rounded<W>(static_cast<double>(in.keys))
                            : Rounded<W>(nan ? std::numeric_limits<double>::quiet_NaN() : 0);
    }
    return result;
  }
  Sum<W> sum;
  if (sink != -std::numeric_limits<double>::infinity()) sum.Add(Exp(Rounded<W>(sink) - max));
  std::vector<Sum<W>> weighed(in.value_depth);
  for (size_t j = 0; j < in.keys; ++j) {
    if (!kept(j)) continue;
    const Rounded<W> e = Exp(result.scores[j] - max);
    sum.Add(e);
    for (size_t i = 0; i < in.value_depth; ++i) {
      weighed[i].Add(e * Rounded<W>(in.v[(first + j) * in.value_depth + i]));
    }
  }
  result.lse = max + Log(sum.Total());
  for (size_t i = 0; i < in.value_depth; ++i) result.o[i] = weighed[i].Total() / sum.Total();
  return result;
}

template <typename W>
struct AttentionGradients {
  std::vector<Rounded<W>> dq;
  std::vector<Rounded<W>> dk;
  std::vector<Rounded<W>> dv;
  std::vector<Rounded<W>> dbias;
  std::vector<Rounded<W>> dsinks;
};

template <typename W>
std::vector<Rounded<W>> Totals(const std::vector<Sum<W>>& sums) {
  std::vector<Rounded<W>> totals;
  for (const Sum<W>& sum : sums) totals.push_back(sum.Total());
  return totals;
}

// Of elements of type T, as which o was stored. No d_lse stands for zeros.
template <typename T, typename W = caffe2op_mask::Wide<T>>
AttentionGradients<W> GradientsOf(
    const AttentionInputs& in, const std::vector<double>& d_o, const std::vector<double>& d_lse) {
  std::vector<Sum<W>> dq(in.q.size());
  std::vector<Sum<W>> dk(in.k.size());
  std::vector<Sum<W>> dv(in.v.size());
  std::vector<Sum<W>> dbias(in.bias.size());
  std::vector<Sum<W>> dsinks(in.sinks.size());
  for (size_t row = 0; row < in.Rows(); ++row) {
    const AttentionRow<W> forward = RowOf<W>(in, row);
    const double* const d_o_row = d_o.data() + row * in.value_depth;
    const size_t first = in.FirstKey(row);
    if (forward.empty) {
      // The mean of all rows of v, kept or not.
      for (size_t j = 0; in.empty_row == EmptyRow::kUniform && j < in.keys; ++j) {
        for (size_t i = 0; i < in.value_depth; ++i) {
          dv[(first + j) * in.value_depth + i].Add(
              Rounded<W>(d_o_row[i]) / Rounded<W>(static_cast<double>(in.keys)));
        }
      }
      continue;
    }
    Sum<W> mean;
    for (size_t i = 0; i < in.value_depth; ++i) {
      mean.Add(Rounded<W>(d_o_row[i]) * Stored<T>(forward.o[i]));
    }
    const Rounded<W> delta = mean.Total() - Rounded<W>(d_lse.empty() ? 0 : d_lse[row]);
    if (in.Sink(row) != -std::numeric_limits<double>::infinity()) {
      const Rounded<W> p = Exp(Rounded<W>(in.Sink(row)) - forward.lse);
      dsinks[row / in.queries % in.heads].Add(p * (Rounded<W>(0) - delta));
    }
    for (size_t j = 0; j < in.keys; ++j) {
      if (!in.kept[row * in.keys + j]) continue;
      const double* const k = in.k.data() + (first + j) * in.depth;
      const double* const v = in.v.data() + (first + j) * in.value_depth;
      const Rounded<W> p = Exp(forward.scores[j] - forward.lse);
      const Rounded<W> ds = p * (Dot<W>(d_o_row, 1, v, 1, in.value_depth) - delta);
      if (!in.bias_entries.empty()) dbias[in.bias_entries[row * in.keys + j]].Add(ds);
      const Rounded<W> d_product = ds * forward.slopes[j] * Rounded<W>(in.scale);
      for (size_t i = 0; i < in.depth; ++i) {
        dq[row * in.depth + i].Add(d_product * Rounded<W>(k[i]));
        dk[(first + j) * in.depth + i].Add(d_product * Rounded<W>(in.q[row * in.depth + i]));
      }
      for (size_t i = 0; i < in.value_depth; ++i) {
        dv[(first + j) * in.value_depth + i].Add(p * Rounded<W>(d_o_row[i]));
      }
    }
  }
  return {Totals(dq), Totals(dk), Totals(dv), Totals(dbias), Totals(dsinks)};
}

}  // namespace reference
}  // namespace caffe2op_mask
