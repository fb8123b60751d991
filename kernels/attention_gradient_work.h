#pragma once

// One thread's view of the backward pass of attention, tile by tile.

#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/attention_exponents.h"
#include "kernels/attention_work.h"
#include "kernels/masked_attention.h"

namespace caffe2op_mask {

// What all parts of the backward pass read.
template <typename W>
struct GradientInputs {
  const Attention& attention;
  const AttentionOutputs& outputs;
  // An entry for each row, counted over all units; d_lse may be null.
  const W* lse;
  const W* d_lse;
  const RowExponents<W>& exponents;
};

template <typename W>
class AttentionGradientWork {
 public:
  explicit AttentionGradientWork(const GradientInputs<W>& inputs);

  // Turns to rows of a unit, with what came back for them.
  void SetRows(const RowTile& rows);

  // Calls f(p) with the probabilities of each tile of those rows and keys [begin, end) of which
  // something is kept.
  template <class F>
  void ForEachTile(int64_t begin, int64_t end, const F& f) {
    work_.ForEachTile(
        begin, end, [&](const AttentionTile& tile) { f(Probabilities(work_.Scores(tile))); });
  }

  const Unit& unit() const { return work_.unit(); }
  int64_t first_row() const { return work_.first_row(); }  // of the unit's
  int64_t rows() const { return work_.rows(); }

  // Of each row: the gradient of a score is p (dp - delta).
  const W* delta() const { return delta_.data(); }

  // The gradient of the rows' queries, as far as it was added up.
  W* dq() { return dq_.data(); }

  // Of the tile's scores with their bias, and of q k; both take the same memory.
  GradientTile ScoreGradients(ProbabilityTile p);
  GradientTile ProductGradients(ProbabilityTile p);

  // Adds p^T do to the tile's rows of dv, ds k to dq of the rows and ds^T q to the tile's rows of
  // dk, with ds the gradients of q k; rows of dv and dk are `stride` apart.
  void AddValueGradient(ProbabilityTile p, W* dv, int64_t stride);
  void AddQueryGradient(GradientTile ds);
  void AddKeyGradient(GradientTile ds, W* dk, int64_t stride);

 private:
  ProbabilityTile Probabilities(ScoreTile scores);
  GradientTile Differentiate(ProbabilityTile p, double scale, const W* slopes);

  const GradientInputs<W>& inputs_;
  AttentionWork<W> work_;
  WideRows<W> wide_o_;
  WideRows<W> wide_d_o_;
  const W* d_o_ = nullptr;
  AlignedBuffer<W> delta_;
  AlignedBuffer<W> dp_;
  AlignedBuffer<W> slopes_;
  AlignedBuffer<W> dq_;
};

}  // namespace caffe2op_mask
