#pragma once

// How the backward pass of attention gets from a score to its probability.

#include <cmath>
#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/attention.h"
#include "kernels/attention_tasks.h"

namespace caffe2op_mask {

// The probabilities of each row, counted over all units, are exp(score - base) * factor: by its
// lse or, where this is so large that the logarithm of the sum is lost in it, as in rows whose bias
// is the lowest number in all of what they keep, by a sum that is taken again.
template <typename W>
class RowExponents {
 public:
  // `lse` of all rows must outlive it.
  RowExponents(const Attention& attention, const W* lse, const Threads& threads);

  // Of the rows from `row` on; without factors (null) they are 1.
  const W* Base(int64_t row) const { return base_ + row; }
  const W* Factor(int64_t row) const { return factor_ == nullptr ? nullptr : factor_ + row; }

  W Probability(int64_t row, W score) const {
    const W p = std::exp(score - base_[row]);
    return factor_ == nullptr ? p : p * factor_[row];
  }

 private:
  const W* base_;
  const W* factor_ = nullptr;
  AlignedBuffer<W> bases_;
  AlignedBuffer<W> factors_;
};

}  // namespace caffe2op_mask
