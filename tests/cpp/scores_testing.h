#pragma once

// What tests of kernels on scores share: real elements between guards, tensors that
// broadcast, and shapes of masks, each with its oracle.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/broadcast.h"
#include "kernels/functors.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/bytes.h"
#include "tests/reference/functors.h"
#include "tests/reference/masked_fill.h"
#include "tests/reference/real.h"
#include "tests/reference/rounded.h"

namespace caffe2op_mask {

template <class Generator>
bool OneIn(Generator& random, uint64_t n) {
  return random() % n == 0;
}

template <typename T>
reference::Bytes ToBytes(const std::vector<T>& values) {
  reference::Bytes bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <typename T>
std::vector<double> ToDouble(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T& v : values) result.push_back(reference::ValueOf(v));
  return result;
}

// Elements between guards, `slack` of them before a page that may not be touched.
template <typename T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& values, size_t slack = 0)
      : bytes_(ToBytes(values), slack * sizeof(T)) {}
  // NaN of all types, so that what is not written shows.
  explicit Guarded(size_t count, size_t slack = 0)
      : bytes_(reference::Bytes(count * sizeof(T), 0xFF), slack * sizeof(T)) {}

  T* data() { return bytes_.as<T>(); }
  size_t size() const { return bytes_.size() / sizeof(T); }
  std::vector<T> values() { return {data(), data() + size()}; }
  void MakeReadOnly() { bytes_.MakeReadOnly(); }
  void MakeUnreadable(size_t count) { bytes_.MakeUnreadable(count * sizeof(T)); }
  void Expect(const std::vector<T>& expected) const { bytes_.Expect(ToBytes(expected)); }
  void ExpectGuards() const { bytes_.ExpectGuards(); }

 private:
  GuardedBytes bytes_;
};

// Each as near as its bound says. Where infinity is due, what is not finite will do:
// it hangs on the order of operations which of them it is.
template <typename T, typename W>
void ExpectNear(
    const char* name, const std::vector<T>& got,
    const std::vector<reference::Rounded<W>>& expected) {
  ASSERT_EQ(got.size(), expected.size()) << name;
  for (size_t i = 0; i < got.size(); ++i) {
    const double value = reference::ValueOf(got[i]);
    if (std::isnan(expected[i].value)) {
      ASSERT_TRUE(std::isnan(value)) << name << " is " << value << ", not NaN, at " << i;
    } else if (std::isinf(expected[i].value)) {
      ASSERT_FALSE(std::isfinite(value)) << name << " is " << value << " at " << i;
    } else {
      const double error = reference::Stored<T>(expected[i]).error;
      ASSERT_LE(std::fabs(value - expected[i].value), error)
          << name << " is " << value << ", not " << expected[i].value << ", at " << i << " of "
          << got.size();
    }
  }
}

// Normal numbers times `spread`.
template <typename T>
std::vector<T> RandomReals(Random& random, int64_t count, double spread) {
  std::normal_distribution<double> normal(0, spread);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& v : values) v = reference::Nearest<T>(normal(random.engine()));
  return values;
}

// A smaller tensor to be broadcast, with the entry that belongs to each of the larger
// shape, index by index.
struct Broadcast {
  Broadcast(const Dims& dims, const Dims& small)
      : dims(dims.size() - small.size(), 1),
        size(Size(small)),
        rows(
            dims.data(), static_cast<int64_t>(dims.size()), small.data(),
            static_cast<int64_t>(small.size())) {
    this->dims.insert(this->dims.end(), small.begin(), small.end());
    for (size_t i = 0; i < static_cast<size_t>(Size(dims)); ++i) {
      entries.push_back(reference::MaskPosition(dims, this->dims, i));
    }
  }

  Dims dims;  // as many as the larger shape has
  int64_t size;
  RowBroadcast rows;
  std::vector<size_t> entries;
};

// Dims that broadcast to these.
inline Dims DrawSmallDims(Random& random, const Dims& dims) {
  Dims small(dims.end() - static_cast<int64_t>(random() % (dims.size() + 1)), dims.end());
  for (int64_t& dim : small) dim = OneIn(random, 2) ? 1 : dim;
  return small;
}

// Parts of an intersection, with what tells entry by entry whether they keep it. Both
// point to the numbers here, which a move leaves where they are.
struct Shape {
  Shape() = default;
  Shape(Shape&&) = default;
  Shape& operator=(Shape&&) = default;

  std::vector<int32_t> lengths;
  std::vector<int64_t> centers;
  std::vector<int64_t> left_pads;
  std::vector<int64_t> shifts;
  IntersectionFunctor functor;
  std::vector<std::function<bool(int64_t row, int64_t column)>> parts;

  bool Keeps(int64_t row, int64_t column) const {
    return std::all_of(
        parts.begin(), parts.end(), [&](const auto& keeps) { return keeps(row, column); });
  }
};

// None, one or several parts, over matrices of `matrix_rows` rows.
inline Shape DrawShape(Random& random, int64_t rows, int64_t matrix_rows, int64_t columns) {
  Shape shape;
  const auto entries = static_cast<size_t>(std::max<int64_t>(rows, 1));
  shape.lengths.resize(entries);
  shape.centers.resize(entries);
  shape.left_pads.resize(entries);
  shape.shifts.resize(entries);
  for (int32_t& n : shape.lengths) n = static_cast<int32_t>(Uniform(random, -1, columns + 1));
  for (int64_t& n : shape.centers) n = Uniform(random, -1, columns);
  for (int64_t& n : shape.left_pads) n = Uniform(random, -1, columns + 1);
  for (int64_t& n : shape.shifts) n = Uniform(random, -matrix_rows, columns);
  // Entries for single rows, for some rows on end, or for whole matrices.
  const int64_t repeats[] = {1, Uniform(random, 1, matrix_rows), matrix_rows};
  const RowIndex index{repeats[random() % 3], Uniform(random, 1, rows + 1)};
  const auto of = [index](int64_t row) { return static_cast<size_t>(index(row)); };
  const int64_t radius = Uniform(random, 0, columns / 2 + 1);
  const int64_t k = Uniform(random, -columns / 2 - 1, columns / 2 + 1);
  const int64_t* const shifts = OneIn(random, 2) ? shape.shifts.data() : nullptr;
  const RowPosition position{{1, matrix_rows}, shifts, index};
  const auto at = [=](int64_t row) { return row % matrix_rows + (shifts ? shifts[of(row)] : 0); };
  const uint64_t chosen = OneIn(random, 3) ? 0 : OneIn(random, 2) ? 1 << random() % 7 : random();
  const auto add = [&](int bit, const MaskFunctor& functor, const auto& keeps) {
    if ((chosen >> bit & 1) == 0) return;
    shape.functor.Add(functor);
    shape.parts.emplace_back(keeps);
  };
  const int32_t* const lengths = shape.lengths.data();
  const int64_t* const centers = shape.centers.data();
  const int64_t* const left_pads = shape.left_pads.data();
  add(0, SequenceFunctor<int32_t>{lengths, index},
      [=](int64_t i, int64_t j) { return reference::SequenceKeeps(lengths[of(i)], j); });
  add(1, WindowFunctor<int64_t>{centers, radius, index},
      [=](int64_t i, int64_t j) { return reference::WindowKeeps(centers[of(i)], radius, j); });
  add(2, UpperFunctor{k, position},
      [=](int64_t i, int64_t j) { return reference::UpperKeeps(at(i), k, j); });
  add(3, LowerFunctor{k - radius, position},
      [=](int64_t i, int64_t j) { return reference::LowerKeeps(at(i), k - radius, j); });
  add(4, UpperDiagFunctor{k, position},
      [=](int64_t i, int64_t j) { return reference::UpperDiagKeeps(at(i), k, j); });
  add(5, LowerDiagFunctor{k - radius, position},
      [=](int64_t i, int64_t j) { return reference::LowerDiagKeeps(at(i), k - radius, j); });
  add(6, LeftPadFunctor<int64_t>{left_pads, index},
      [=](int64_t i, int64_t j) { return reference::LeftPadKeeps(left_pads[of(i)], j); });
  return shape;
}

}  // namespace caffe2op_mask
