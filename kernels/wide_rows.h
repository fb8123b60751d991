#pragma once

// Rows of real elements as float or double, the type that they are computed in.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/aligned_buffer.h"
#include "kernels/attention.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Rows of W, `stride` entries apart.
template <typename W>
struct StridedRows {
  const W* data;
  int64_t stride;

  const W* At(int64_t row) const { return data + row * stride; }
};

// Rows of `depth` elements of a type whose Wide<T> is W: where they lie, or one behind the other
// in memory for up to `most` of them at once. What a call returns holds until the next.
template <typename W>
class WideRows {
 public:
  WideRows(Real type, InputRows from, int64_t depth, int64_t most = 1)
      : type_(type), from_(from), depth_(depth), most_(most) {
    if (!IsWide()) memory_ = AlignedBuffer<W>(most * depth);
  }

  // A row, or rows that are `stride` apart, from an entry on.
  const W* At(int64_t first) const { return At(first, 1, depth_).data; }
  StridedRows<W> At(int64_t first, int64_t rows, int64_t stride) const {
    if (IsWide()) return {static_cast<const W*>(from_.data) + first, stride};
    Copy(first, rows, stride, memory_.data());
    return {memory_.data(), depth_};
  }

  // Rows of a unit's queries and keys.
  const W* Query(const Unit& unit, int64_t row) const { return At(unit.OfRow(strides(), row)); }
  const W* Key(const Unit& unit, int64_t key) const { return At(unit.OfKey(strides(), key)); }
  StridedRows<W> Keys(const Unit& unit, int64_t key, int64_t rows) const {
    return At(unit.OfKey(strides(), key), rows, strides().row);
  }

  // Rows of a unit's queries one behind the other. They are read once for each tile of keys, and
  // in columns: a copy of rows that lie apart is worth it.
  const W* Queries(const Unit& unit, int64_t row, int64_t rows) {
    const int64_t first = unit.OfRow(strides(), row);
    const bool dense = strides().row == depth_ && (row % unit.queries() + rows <= unit.queries() ||
                                                   strides().head == unit.queries() * depth_);
    if (dense) return At(first, rows, depth_).data;
    if (memory_.data() == nullptr) memory_ = AlignedBuffer<W>(most_ * depth_);
    for (int64_t r = 0; r < rows;) {
      const int64_t in_head = std::min(rows - r, unit.queries() - (row + r) % unit.queries());
      Copy(unit.OfRow(strides(), row + r), in_head, strides().row, memory_.data() + r * depth_);
      r += in_head;
    }
    return memory_.data();
  }

 private:
  const RowStrides& strides() const { return from_.strides; }
  bool IsWide() const { return RealBytes(type_) == static_cast<int64_t>(sizeof(W)); }

  void Copy(int64_t first, int64_t rows, int64_t stride, W* to) const {
    if constexpr (std::is_same<W, float>::value) {
      if (type_ == Real::kFloat16) return Widen<Float16>(first, rows, stride, to);
      if (type_ == Real::kBFloat16) return Widen<BFloat16>(first, rows, stride, to);
    }
    const W* const from = static_cast<const W*>(from_.data) + first;
    for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * stride, depth_, to + r * depth_);
  }

  template <typename T>
  void Widen(int64_t first, int64_t rows, int64_t stride, W* to) const {
    const T* const from = static_cast<const T*>(from_.data) + first;
    if (stride == depth_) return ToFloat(from, rows * depth_, to);
    for (int64_t r = 0; r < rows; ++r) ToFloat(from + r * stride, depth_, to + r * depth_);
  }

  Real type_;
  InputRows from_;
  int64_t depth_;
  int64_t most_;
  AlignedBuffer<W> memory_;
};

}  // namespace caffe2op_mask
