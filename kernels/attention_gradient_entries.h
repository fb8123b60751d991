#pragma once

// The gradient of attention entry by entry, where sums of tiles met what is not finite.

#include <cstdint>

#include "kernels/attention_entries.h"
#include "kernels/attention_gradient_work.h"

namespace caffe2op_mask {

// Rows and keys are those of a unit.
template <typename W>
class AttentionGradientEntries {
 public:
  explicit AttentionGradientEntries(const GradientInputs<W>& inputs);

  // The gradient of a row's q from what the row keeps alone.
  void SumRow(const Unit& unit, int64_t row, W* dq) const;

  // The gradients of a key's k and v from the rows that keep it alone.
  void SumKey(const Unit& unit, int64_t key, W* dk, W* dv) const;

  // What a unit's empty rows add to the gradient of v of any key where they weigh all keys alike.
  void SumEmptyRows(const Unit& unit, W* dv) const;

 private:
  // The gradient of a row's product with a key that it keeps, and the probability.
  struct Entry {
    W p;
    W ds;
  };
  Entry At(const Unit& unit, int64_t row, int64_t key) const;

  bool IsEmpty(const Unit& unit, int64_t row) const;

  const GradientInputs<W>& inputs_;
  AttentionEntries<W> entries_;
  WideRows<W> o_;
  WideRows<W> d_o_;
};

}  // namespace caffe2op_mask
