#include "kernels/attention_gradient_entries.h"

#include <algorithm>
#include <limits>

namespace caffe2op_mask {

template <typename W>
AttentionGradientEntries<W>::AttentionGradientEntries(const GradientInputs<W>& inputs)
    : inputs_(inputs),
      entries_(inputs.attention),
      o_(inputs.attention.type, inputs.outputs.o, inputs.attention.value_depth),
      d_o_(inputs.attention.type, inputs.outputs.d_o, inputs.attention.value_depth) {}

template <typename W>
bool AttentionGradientEntries<W>::IsEmpty(int64_t row) const {
  return inputs_.lse()[row] == -std::numeric_limits<W>::infinity();
}

template <typename W>
typename AttentionGradientEntries<W>::Entry AttentionGradientEntries<W>::At(
    int64_t row, int64_t key) const {
  const Attention& in = inputs_.attention;
  W slope;
  const W score = entries_.Score(row, key, &slope);
  const W p = inputs_.exponents.Probability(row, score);
  const W* const v = entries_.V(key);
  const W* const o = o_.At(row);
  const W* const d_o = d_o_.At(row);
  W rise = inputs_.d_lse() == nullptr ? 0 : inputs_.d_lse()[row];  // dp - delta
  for (int64_t i = 0; i < in.value_depth; ++i) rise += d_o[i] * (v[i] - o[i]);
  return {p, p * rise * slope * static_cast<W>(in.scale)};
}

template <typename W>
void AttentionGradientEntries<W>::SumRow(int64_t row, W* dq) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dq, in.depth, W{0});
  if (IsEmpty(row)) return;
  entries_.ForEachKept(row, [&](int64_t key) {
    const W ds = At(row, key).ds;
    const W* const k = entries_.K(key);
    for (int64_t i = 0; i < in.depth; ++i) dq[i] += ds * k[i];
  });
}

template <typename W>
void AttentionGradientEntries<W>::SumKey(int64_t key, W* dk, W* dv) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dk, in.depth, W{0});
  std::fill_n(dv, in.value_depth, W{0});
  const int64_t first = key / in.keys * UnitRows(in);
  for (int64_t row = first; row < first + UnitRows(in); ++row) {
    if (IsEmpty(row) || !entries_.Keeps(row, key)) continue;
    const Entry entry = At(row, key);
    const W* const q = entries_.Q(row);
    const W* const d_o = d_o_.At(row);
    for (int64_t i = 0; i < in.depth; ++i) dk[i] += entry.ds * q[i];
    for (int64_t i = 0; i < in.value_depth; ++i) dv[i] += entry.p * d_o[i];
  }
}

template <typename W>
void AttentionGradientEntries<W>::SumEmptyRows(int64_t unit, W* dv) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dv, in.value_depth, W{0});
  const W weight = 1 / static_cast<W>(in.keys);
  const int64_t first = unit * UnitRows(in);
  for (int64_t row = first; row < first + UnitRows(in); ++row) {
    if (!IsEmpty(row)) continue;
    const W* const d_o = d_o_.At(row);
    for (int64_t i = 0; i < in.value_depth; ++i) dv[i] += weight * d_o[i];
  }
}

template class AttentionGradientEntries<float>;
template class AttentionGradientEntries<double>;

}  // namespace caffe2op_mask
