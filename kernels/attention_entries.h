#pragma once

// Attention entry by entry, in the plainest way, for the few rows where a product of
// matrices will not do: there, 0 times a masked NaN is NaN, as of a key that other rows of
// a tile keep.

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/wide_rows.h"

namespace caffe2op_mask {

// Computes in W, float or double. Rows, and keys, which are rows of k and v, are counted over all
// units.
template <typename W>
class AttentionEntries {
 public:
  explicit AttentionEntries(const Attention& attention);

  // Calls f(key) for each key that a row keeps.
  template <class F>
  void ForEachKept(int64_t row, const F& f) const {
    const int64_t first = row / UnitRows(attention_) * attention_.keys;
    for (int64_t key = first; key < first + attention_.keys; ++key) {
      if (Keeps(row, key)) f(key);
    }
  }

  // Whether a row keeps a key of its unit, which may also not be in its interval.
  bool Keeps(int64_t row, int64_t key) const;

  // The score of a row with a key as it goes into the exponential; `slope` becomes the
  // derivative of its softcap.
  W Score(int64_t row, int64_t key, W* slope) const;

  const W* Q(int64_t row) const { return q_.At(row); }
  const W* K(int64_t row) const { return k_.At(row); }
  const W* V(int64_t row) const { return v_.At(row); }

 private:
  const Attention& attention_;
  WideRows<W> q_;
  WideRows<W> k_;
  WideRows<W> v_;
  WideRows<W> bias_;
};

}  // namespace caffe2op_mask
