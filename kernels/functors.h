#pragma once

// Mask shapes. A functor gives which columns of a row are kept, always as one
// interval [begin, end) inside [0, columns), so that a consumer can fill
// outside it, copy inside it and skip what is masked, without a test per entry.
//
// To add a shape: write one more struct here, name it in MaskFunctor and in
// contracts/mask_shape.cc. Every consumer takes it from there.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <variant>

namespace caffe2op_mask {

struct Interval {
  int64_t begin;
  int64_t end;
};

inline bool operator==(Interval a, Interval b) {
  return a.begin == b.begin && a.end == b.end;
}

// [begin, end) cut to [0, columns); empty intervals have begin == end.
inline Interval Clip(int64_t begin, int64_t end, int64_t columns) {
  begin = std::clamp<int64_t>(begin, 0, columns);
  return {begin, std::clamp(end, begin, columns)};
}

// a + b, held at the limits of int64_t: indices and lengths come from users.
inline int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
}

// Which entry of a per-row array belongs to a row: each entry serves `repeat`
// rows on end, and the array starts over after `period` entries. So one
// lengths vector can serve every batch, or one length all heads of a batch.
struct RowIndex {
  int64_t repeat = 1;
  int64_t period = std::numeric_limits<int64_t>::max();

  // Divisions are most of what a short row costs; the common case has none.
  int64_t operator()(int64_t row) const {
    const int64_t entry = repeat == 1 ? row : row / repeat;
    return entry < period ? entry : entry % period;
  }
};

// Keeps columns j < lengths[row].
template <typename Index>
struct SequenceFunctor {
  const Index* lengths;
  RowIndex index;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(0, lengths[index(row)], columns);
  }
};

// Keeps columns j with |j - centers[row]| <= radius; radius >= 0.
template <typename Index>
struct WindowFunctor {
  const Index* centers;
  int64_t radius;
  RowIndex index;

  Interval operator()(int64_t row, int64_t columns) const {
    const int64_t center = centers[index(row)];
    return Clip(
        SaturatingAdd(center, -radius), SaturatingAdd(SaturatingAdd(center, radius), 1), columns);
  }
};

// Keeps columns j >= left_pads[row].
template <typename Index>
struct LeftPadFunctor {
  const Index* left_pads;
  RowIndex index;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(left_pads[index(row)], columns, columns);
  }
};

// Where a row stands among the columns, as a triangle sees it: its index in its own
// matrix, moved by its entry of `shifts` unless that is null.
struct RowPosition {
  RowPosition(  // NOLINT(google-explicit-constructor): an index alone is a position
      RowIndex index = {}, const int64_t* shifts = nullptr, RowIndex shift_index = {})
      : index(index), shifts(shifts), shift_index(shift_index) {}

  RowIndex index;
  const int64_t* shifts;
  RowIndex shift_index;

  int64_t operator()(int64_t row) const {
    const int64_t position = index(row);
    return shifts == nullptr ? position : SaturatingAdd(position, shifts[shift_index(row)]);
  }
};

// The triangles are named for what they mask, as Caffe2 names them. `diagonal`
// moves the boundary to the right, as k does in numpy.tril and numpy.triu.

// Masks j > row + diagonal: what is left is causal.
struct UpperFunctor {
  int64_t diagonal = 0;
  RowPosition position;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(0, SaturatingAdd(SaturatingAdd(position(row), diagonal), 1), columns);
  }
};

// Masks j < row + diagonal.
struct LowerFunctor {
  int64_t diagonal = 0;
  RowPosition position;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(SaturatingAdd(position(row), diagonal), columns, columns);
  }
};

// Masks j >= row + diagonal.
struct UpperDiagFunctor {
  int64_t diagonal = 0;
  RowPosition position;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(0, SaturatingAdd(position(row), diagonal), columns);
  }
};

// Masks j <= row + diagonal.
struct LowerDiagFunctor {
  int64_t diagonal = 0;
  RowPosition position;

  Interval operator()(int64_t row, int64_t columns) const {
    return Clip(SaturatingAdd(SaturatingAdd(position(row), diagonal), 1), columns, columns);
  }
};

using MaskFunctor = std::variant<
    SequenceFunctor<int32_t>, SequenceFunctor<int64_t>, WindowFunctor<int32_t>,
    WindowFunctor<int64_t>, LeftPadFunctor<int32_t>, LeftPadFunctor<int64_t>, UpperFunctor,
    LowerFunctor, UpperDiagFunctor, LowerDiagFunctor>;

// Keeps what every one of its parts keeps; with no part, everything.
class IntersectionFunctor {
 public:
  // Sequence, window, left padding, the four triangles and the two sides of a band.
  static constexpr size_t kMaxParts = 9;

  // Throws std::out_of_range beyond kMaxParts.
  void Add(const MaskFunctor& part) { parts_.at(size_++) = part; }
  size_t size() const { return size_; }
  const MaskFunctor& part(size_t i) const { return parts_[i]; }

  Interval operator()(int64_t row, int64_t columns) const {
    Interval kept{0, columns};
    for (size_t i = 0; i < size_; ++i) {
      const Interval part =
          std::visit([&](const auto& functor) { return functor(row, columns); }, parts_[i]);
      kept.begin = std::max(kept.begin, part.begin);
      kept.end = std::min(kept.end, part.end);
    }
    return {kept.begin, std::max(kept.begin, kept.end)};
  }

 private:
  std::array<MaskFunctor, kMaxParts> parts_;
  size_t size_ = 0;
};

}  // namespace caffe2op_mask
