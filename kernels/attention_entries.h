#pragma once

// Attention entry by entry, in the plainest way, for the few rows where a product of
// matrices will not do: there, 0 times a masked NaN is NaN, as of a key that other rows of
// a tile keep.

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/wide_rows.h"

namespace caffe2op_mask {

// Computes in W, float or double. Rows and keys are those of a unit.
template <typename W>
class AttentionEntries {
 public:
  explicit AttentionEntries(const Attention& attention);

  // Calls f(key) for each key that a row keeps.
  template <class F>
  void ForEachKept(const Unit& unit, int64_t row, const F& f) const {
    for (int64_t key = 0; key < unit.keys(); ++key) {
      if (Keeps(unit, row, key)) f(key);
    }
  }

  // Whether a row keeps a key, which may also not be in its interval.
  bool Keeps(const Unit& unit, int64_t row, int64_t key) const;

  // The score of a row with a key as it goes into the exponential; `slope` becomes the
  // derivative of its softcap.
  W Score(const Unit& unit, int64_t row, int64_t key, W* slope) const;

  const W* Q(const Unit& unit, int64_t row) const { return q_.Query(unit, row); }
  const W* K(const Unit& unit, int64_t key) const { return k_.Key(unit, key); }
  const W* V(const Unit& unit, int64_t key) const { return v_.Key(unit, key); }

 private:
  const Attention& attention_;
  WideRows<W> q_;
  WideRows<W> k_;
  WideRows<W> v_;
  WideRows<W> bias_;
};

}  // namespace caffe2op_mask
