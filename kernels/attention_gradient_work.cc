#include "kernels/attention_gradient_work.h"

#include <algorithm>

#include "kernels/tile_product.h"

namespace caffe2op_mask {

template <typename W>
AttentionGradientWork<W>::AttentionGradientWork(const GradientInputs<W>& inputs)
    : inputs_(inputs),
      work_(inputs.attention),
      wide_o_(
          inputs.attention.type, inputs.outputs.o, inputs.attention.value_depth,
          TileRows(inputs.attention)),
      wide_d_o_(
          inputs.attention.type, inputs.outputs.d_o, inputs.attention.value_depth,
          TileRows(inputs.attention)),
      delta_(TileRows(inputs.attention)),
      dp_(TileRows(inputs.attention) * work_.stride()),
      slopes_(inputs.attention.softcap == 0 ? 0 : TileRows(inputs.attention) * work_.stride()),
      dq_(TileRows(inputs.attention) * inputs.attention.depth) {}

template <typename W>
void AttentionGradientWork<W>::SetRows(const RowTile& rows) {
  const Attention& in = inputs_.attention;
  work_.SetRows(rows, inputs_.lse);
  d_o_ = wide_d_o_.Queries(rows.unit, rows.first, rows.rows);
  // The sum of p dp over a row is that of o do, since o is the sum of p v.
  const W* const o = wide_o_.Queries(rows.unit, rows.first, rows.rows);
  RowDots(in.type, d_o_, o, rows.rows, in.value_depth, delta_.data());
  // And lse rises with a score by p.
  for (int64_t r = 0; inputs_.d_lse != nullptr && r < rows.rows; ++r) {
    delta_.data()[r] -= inputs_.d_lse[rows.first_of_all() + r];
  }
  std::fill_n(dq_.data(), rows.rows * in.depth, W{0});
}

template <typename W>
ProbabilityTile AttentionGradientWork<W>::Probabilities(ScoreTile scores) {
  const int64_t row = scores.tile.first_row;
  void* const slopes = inputs_.attention.softcap == 0 ? nullptr : slopes_.data();
  return NormalizeTile(scores, inputs_.exponents.Base(row), inputs_.exponents.Factor(row), slopes);
}

template <typename W>
GradientTile AttentionGradientWork<W>::Differentiate(
    ProbabilityTile p, double scale, const W* slopes) {
  work_.Products(p.tile, 1, d_o_, work_.V(p.tile), inputs_.attention.value_depth, dp_.data());
  return DifferentiateTile(p, delta_.data(), dp_.data(), scale, slopes);
}

template <typename W>
GradientTile AttentionGradientWork<W>::ScoreGradients(ProbabilityTile p) {
  return Differentiate(p, 1, nullptr);
}

template <typename W>
GradientTile AttentionGradientWork<W>::ProductGradients(ProbabilityTile p) {
  const Attention& in = inputs_.attention;
  return Differentiate(p, in.scale, in.softcap == 0 ? nullptr : slopes_.data());
}

template <typename W>
void AttentionGradientWork<W>::AddValueGradient(ProbabilityTile p, W* dv, int64_t stride) {
  const AttentionTile& tile = p.tile;
  const int64_t depth = inputs_.attention.value_depth;
  TileProduct(
      tile.type, tile.columns, depth, tile.rows, 1, {p.at, 1, tile.stride}, d_o_, depth, true, dv,
      stride);
}

template <typename W>
void AttentionGradientWork<W>::AddQueryGradient(GradientTile ds) {
  const AttentionTile& tile = ds.tile;
  const int64_t depth = inputs_.attention.depth;
  const StridedRows<W> k = work_.SummedK(tile);
  TileProduct(
      tile.type, tile.rows, depth, tile.columns, 1, {ds.at, tile.stride, 1}, k.data, k.stride, true,
      dq_.data(), depth);
}

template <typename W>
void AttentionGradientWork<W>::AddKeyGradient(GradientTile ds, W* dk, int64_t stride) {
  const AttentionTile& tile = ds.tile;
  const int64_t depth = inputs_.attention.depth;
  TileProduct(
      tile.type, tile.columns, depth, tile.rows, 1, {ds.at, 1, tile.stride}, work_.q(), depth, true,
      dk, stride);
}

template class AttentionGradientWork<float>;
template class AttentionGradientWork<double>;

}  // namespace caffe2op_mask
