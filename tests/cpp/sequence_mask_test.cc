#include "kernels/sequence_mask.h"

#include <gtest/gtest.h>

#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sequence_mask_testing.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/functors.h"
#include "tests/reference/sequence_mask.h"

namespace caffe2op_mask {
namespace {

TEST_F(RepeatedMaskTest, AnyIntervals) {
  for (const int64_t columns : Counts(random_)) {
    for (const int64_t repeated : {1, 2, 3, 17, 64}) {
      for (const int64_t left : {1, 2, 5}) {
        const RepeatedDims shape{left, columns, repeated, Width()};
        if (shape.bytes() > 1 << 20) continue;
        ExpectIntervals(shape, RandomFor(random_, left * columns));
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(RepeatedMaskTest, ManyRows) {
  for (const int64_t columns : {1, 2, 3, 31, 64, 100}) {
    ExpectIntervals({1000, columns, 1, Width()}, ShuffledFor);
    ExpectIntervals({333, columns, 3, Width()}, ThreadedFor);
  }
}

TEST_F(RepeatedMaskTest, NothingToMask) {
  ExpectIntervals({0, 5, 2, 4}, SerialFor);
  ExpectIntervals({5, 0, 2, 4}, SerialFor);
  ExpectIntervals({5, 2, 0, 4}, SerialFor);
  // Not even the memory need exist.
  const auto never = [](int64_t, int64_t) -> Interval {
    ADD_FAILURE() << "asked for a row of nothing";
    return {0, 0};
  };
  RepeatedMaskWithFunctor(0, 5, 2, 4, nullptr, never, 0, nullptr, ShuffledFor);
  RepeatedMaskWithFunctor(5, 0, 2, 4, nullptr, never, 0, nullptr, ShuffledFor);
  RepeatedMaskWithFunctor(5, 2, 0, 4, nullptr, never, 0, nullptr, ShuffledFor);
}

// One row is cut into pieces too.
TEST_F(RepeatedMaskTest, OneLongRow) {
  constexpr int64_t kColumns = (int64_t{1} << 20) + 13;
  for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
    for (const int64_t length : {int64_t{0}, int64_t{1}, kColumns / 2, kColumns - 1, kColumns}) {
      ExpectMasked(
          {1, kColumns, 1, 4}, SequenceFunctor<int64_t>{&length, {}},
          [&](int64_t, int64_t j) { return reference::SequenceKeeps(length, j); }, parallel_for);
    }
  }
}

TEST_F(RepeatedMaskTest, EveryFunctor) {
  for (int time = 0; time < 300 && !HasFailure(); ++time) ExpectEveryFunctor();
}

TEST_F(RepeatedMaskTest, PiecesAreApart) {
  const Bytes in(size_t{5 * 1000 * 3 * 4}, 1);
  ExpectPiecesApart(in.size(), [&](ParallelFor parallel_for, uint8_t* out) {
    RepeatedMaskWithFunctor(5, 1000, 3, 4, in.data(), LowerFunctor{400, {}}, 0, out, parallel_for);
  });
}

}  // namespace
}  // namespace caffe2op_mask
