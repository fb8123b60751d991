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
bool AttentionGradientEntries<W>::IsEmpty(const Unit& unit, int64_t row) const {
  return inputs_.lse[unit.first_row + row] == -std::numeric_limits<W>::infinity();
}

template <typename W>
typename AttentionGradientEntries<W>::Entry AttentionGradientEntries<W>::At(
    const Unit& unit, int64_t row, int64_t key) const {
  const Attention& in = inputs_.attention;
  W slope;
  const W score = entries_.Score(unit, row, key, &slope);
  const W p = inputs_.exponents.Probability(unit.first_row + row, score);
  const W* const v = entries_.V(unit, key);
  const W* const o = o_.Query(unit, row);
  const W* const d_o = d_o_.Query(unit, row);
  W rise = inputs_.d_lse == nullptr ? 0 : inputs_.d_lse[unit.first_row + row];  // dp - delta
  for (int64_t i = 0; i < in.value_depth; ++i) rise += d_o[i] * (v[i] - o[i]);
  return {p, p * rise * slope * static_cast<W>(in.scale)};
}

template <typename W>
void AttentionGradientEntries<W>::SumRow(const Unit& unit, int64_t row, W* dq) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dq, in.depth, W{0});
  if (IsEmpty(unit, row)) return;
  entries_.ForEachKept(unit, row, [&](int64_t key) {
    const W ds = At(unit, row, key).ds;
    const W* const k = entries_.K(unit, key);
    for (int64_t i = 0; i < in.depth; ++i) dq[i] += ds * k[i];
  });
}

template <typename W>
void AttentionGradientEntries<W>::SumKey(const Unit& unit, int64_t key, W* dk, W* dv) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dk, in.depth, W{0});
  std::fill_n(dv, in.value_depth, W{0});
  for (int64_t row = 0; row < unit.rows(); ++row) {
    if (IsEmpty(unit, row) || !entries_.Keeps(unit, row, key)) continue;
    const Entry entry = At(unit, row, key);
    const W* const q = entries_.Q(unit, row);
    const W* const d_o = d_o_.Query(unit, row);
    for (int64_t i = 0; i < in.depth; ++i) dk[i] += entry.ds * q[i];
    for (int64_t i = 0; i < in.value_depth; ++i) dv[i] += entry.p * d_o[i];
  }
}

template <typename W>
void AttentionGradientEntries<W>::SumEmptyRows(const Unit& unit, W* dv) const {
  const Attention& in = inputs_.attention;
  std::fill_n(dv, in.value_depth, W{0});
  const W weight = 1 / static_cast<W>(unit.keys());
  for (int64_t row = 0; row < unit.rows(); ++row) {
    if (!IsEmpty(unit, row)) continue;
    const W* const d_o = d_o_.Query(unit, row);
    for (int64_t i = 0; i < in.value_depth; ++i) dv[i] += weight * d_o[i];
  }
}

template class AttentionGradientEntries<float>;
template class AttentionGradientEntries<double>;

}  // namespace caffe2op_mask
