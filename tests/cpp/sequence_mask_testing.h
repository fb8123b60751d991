#pragma once

// Data outside of what a functor keeps is filled, against the oracle.

#include <gtest/gtest.h>

#include <vector>

#include "kernels/sequence_mask.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/functors.h"
#include "tests/reference/sequence_mask.h"

namespace caffe2op_mask {

struct RepeatedDims {
  int64_t left;
  int64_t masked_dims;
  int64_t repeated_dims;
  int64_t width;

  int64_t bytes() const { return left * masked_dims * repeated_dims * width; }
};

class RepeatedMaskTest : public SeededTest {
 protected:
  // Out of place and in place.
  template <class Functor, class Keeps>
  void ExpectMasked(
      const RepeatedDims& shape, const Functor& functor, const Keeps& keeps,
      ParallelFor parallel_for) {
    SCOPED_TRACE(
        ::testing::Message() << "[" << shape.left << ", " << shape.masked_dims << ", "
                             << shape.repeated_dims << "] of " << shape.width << " bytes");
    const Bytes in = RandomBytes(random_, shape.bytes());
    const uint64_t fill = RandomFill(random_, shape.width);
    const Bytes expected = reference::RepeatedMask(
        static_cast<size_t>(shape.left), static_cast<size_t>(shape.masked_dims),
        static_cast<size_t>(shape.repeated_dims), static_cast<size_t>(shape.width), in, keeps,
        fill);
    const size_t slack = random_() % 4 * 19;
    const GuardedBytes from(in, slack);
    GuardedBytes out(in.size(), slack);
    RepeatedMaskWithFunctor(
        shape.left, shape.masked_dims, shape.repeated_dims, shape.width, from.data(), functor, fill,
        out.data(), parallel_for);
    out.Expect(expected);
    GuardedBytes same(in, slack);
    RepeatedMaskWithFunctor(
        shape.left, shape.masked_dims, shape.repeated_dims, shape.width, same.data(), functor, fill,
        same.data(), parallel_for);
    same.Expect(expected);
  }

  // Any interval in each row.
  void ExpectIntervals(const RepeatedDims& shape, ParallelFor parallel_for) {
    std::vector<Interval> intervals;
    for (int64_t i = 0; i < shape.left; ++i) {
      const int64_t begin = Uniform(random_, 0, shape.masked_dims);
      intervals.push_back({begin, Uniform(random_, begin, shape.masked_dims)});
    }
    ExpectMasked(
        shape,
        [&](int64_t row, int64_t columns) {
          EXPECT_EQ(columns, shape.masked_dims);
          return intervals.at(static_cast<size_t>(row));
        },
        [&](int64_t row, int64_t column) {
          const Interval kept = intervals[static_cast<size_t>(row)];
          return kept.begin <= column && column < kept.end;
        },
        parallel_for);
  }

  // Each over some small shape.
  void ExpectEveryFunctor() {
    const RepeatedDims shape{
        Uniform(random_, 1, 24), Uniform(random_, 1, 40), Uniform(random_, 1, 3), Width()};
    const int64_t period = Uniform(random_, 1, shape.left);
    const int64_t repeat = Uniform(random_, 1, 3);
    const int64_t diagonal = Uniform(random_, -30, 30);
    const int64_t radius = Uniform(random_, 0, 20);
    const RowIndex index{repeat, period};
    std::vector<int64_t> numbers(static_cast<size_t>(period));
    for (int64_t& number : numbers) number = Uniform(random_, -5, 45);
    const std::vector<int32_t> numbers32(numbers.begin(), numbers.end());
    const auto entry = [=](int64_t row) { return row / repeat % period; };
    const auto number = [&](int64_t row) { return numbers[static_cast<size_t>(entry(row))]; };
    const auto expect = [&](const auto& functor, const auto& keeps) {
      ExpectMasked(shape, functor, keeps, RandomFor(random_, shape.left * shape.masked_dims));
    };
    const auto sequence = [&](int64_t i, int64_t j) {
      return reference::SequenceKeeps(number(i), j);
    };
    const auto window = [&](int64_t i, int64_t j) {
      return reference::WindowKeeps(number(i), radius, j);
    };
    const auto upper = [&](int64_t i, int64_t j) {
      return reference::UpperKeeps(entry(i), diagonal, j);
    };
    expect(SequenceFunctor<int32_t>{numbers32.data(), index}, sequence);
    expect(SequenceFunctor<int64_t>{numbers.data(), index}, sequence);
    expect(WindowFunctor<int32_t>{numbers32.data(), radius, index}, window);
    expect(WindowFunctor<int64_t>{numbers.data(), radius, index}, window);
    const auto left_pad = [&](int64_t i, int64_t j) {
      return reference::LeftPadKeeps(number(i), j);
    };
    expect(LeftPadFunctor<int32_t>{numbers32.data(), index}, left_pad);
    expect(LeftPadFunctor<int64_t>{numbers.data(), index}, left_pad);
    expect(UpperFunctor{diagonal, index}, upper);
    expect(LowerFunctor{diagonal, index}, [&](int64_t i, int64_t j) {
      return reference::LowerKeeps(entry(i), diagonal, j);
    });
    expect(UpperDiagFunctor{diagonal, index}, [&](int64_t i, int64_t j) {
      return reference::UpperDiagKeeps(entry(i), diagonal, j);
    });
    expect(LowerDiagFunctor{diagonal, index}, [&](int64_t i, int64_t j) {
      return reference::LowerDiagKeeps(entry(i), diagonal, j);
    });
    IntersectionFunctor both;
    both.Add(SequenceFunctor<int64_t>{numbers.data(), index});
    both.Add(UpperFunctor{diagonal, index});
    expect(both, [&](int64_t i, int64_t j) { return sequence(i, j) && upper(i, j); });
  }

  int64_t Width() { return int64_t{1} << random_() % 4; }
};

}  // namespace caffe2op_mask
