#include "kernels/attention_entries.h"

#include <cmath>

#include "kernels/chunk.h"

namespace caffe2op_mask {

template <typename W>
AttentionEntries<W>::AttentionEntries(const Attention& attention)
    : attention_(attention),
      q_(attention.type, attention.q, attention.depth),
      k_(attention.type, attention.k, attention.depth),
      v_(attention.type, attention.v, attention.value_depth),
      bias_(attention.type, {attention.bias, {}}, 1) {}

template <typename W>
bool AttentionEntries<W>::Keeps(const Unit& unit, int64_t row, int64_t key) const {
  const ScoreMask& mask = attention_.mask;
  const Interval kept = mask.shape(unit.MaskRow(row), unit.keys());
  if (key < kept.begin || key >= kept.end) return false;
  if (mask.mask == nullptr) return true;
  const RowBroadcast& rows = mask.mask_rows;
  const int64_t entry = rows.Offset(unit.first_row + row) + key * rows.column_stride();
  return CountTrue(mask.mask + entry, 1) == 1;
}

template <typename W>
W AttentionEntries<W>::Score(const Unit& unit, int64_t row, int64_t key, W* slope) const {
  const W* const q = Q(unit, row);
  const W* const k = K(unit, key);
  W score = 0;
  for (int64_t i = 0; i < attention_.depth; ++i) score += q[i] * k[i];
  score *= static_cast<W>(attention_.scale);
  *slope = 1;
  if (attention_.softcap != 0) {
    const auto softcap = static_cast<W>(attention_.softcap);
    const W t = std::tanh(score / softcap);
    score = softcap * t;
    *slope = 1 - t * t;
  }
  if (attention_.bias != nullptr) {
    const RowBroadcast& rows = attention_.bias_rows;
    score += *bias_.At(rows.Offset(unit.first_row + row) + key * rows.column_stride());
  }
  return score;
}

template class AttentionEntries<float>;
template class AttentionEntries<double>;

}  // namespace caffe2op_mask
