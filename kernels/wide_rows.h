#pragma once

// Rows of real elements as float or double, the type that they are computed in.

#include <cstdint>
#include <type_traits>

#include "kernels/aligned_buffer.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Rows of `depth` elements of a type whose Wide<T> is W: where they lie, or widened in memory for
// up to `most` of them at once.
template <typename W>
class WideRows {
 public:
  WideRows(Real type, const void* from, int64_t depth, int64_t most = 1)
      : type_(type),
        from_(from),
        depth_(depth),
        memory_(RealBytes(type) == static_cast<int64_t>(sizeof(W)) ? 0 : most * depth) {}

  int64_t depth() const { return depth_; }

  // Rows [first, first + rows), until the next call.
  const W* At(int64_t first, int64_t rows = 1) const {
    if constexpr (std::is_same<W, float>::value) {
      if (type_ == Real::kFloat16) return Widened<Float16>(first, rows);
      if (type_ == Real::kBFloat16) return Widened<BFloat16>(first, rows);
    }
    return static_cast<const W*>(from_) + first * depth_;
  }

 private:
  template <typename T>
  const W* Widened(int64_t first, int64_t rows) const {
    ToFloat(static_cast<const T*>(from_) + first * depth_, rows * depth_, memory_.data());
    return memory_.data();
  }

  Real type_;
  const void* from_;
  int64_t depth_;
  AlignedBuffer<W> memory_;
};

}  // namespace caffe2op_mask
