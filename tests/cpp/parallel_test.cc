#include "kernels/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "tests/cpp/sweep.h"

namespace caffe2op_mask {
namespace {

// Also the loops of the tests themselves: one that left something out would
// make other tests fail, but one that ran all in order would hide what they seek.
TEST(ParallelForTest, EveryIndexOnce) {
  for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
    for (const int64_t size : {0, 1, 2, 3, 100, 10000}) {
      constexpr int64_t kBegin = 7;
      std::vector<std::atomic<int>> visits(static_cast<size_t>(size));
      parallel_for(kBegin, kBegin + size, 1, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i - kBegin)];
      });
      for (const auto& count : visits) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelForTest, ShuffledForCutsAndShuffles) {
  std::vector<int64_t> begins;
  ShuffledFor(0, 1000, 1, [&](int64_t begin, int64_t) { begins.push_back(begin); });
  EXPECT_GT(begins.size(), 3U);
  EXPECT_FALSE(std::is_sorted(begins.begin(), begins.end()));
}

TEST(ParallelForTest, GrainIsAtLeastOne) {
  EXPECT_EQ(GrainFor(0), kGrainBytes);
  EXPECT_EQ(GrainFor(1), kGrainBytes);
  EXPECT_EQ(GrainFor(kGrainBytes - 1), 1);
  EXPECT_EQ(GrainFor(kGrainBytes), 1);
  EXPECT_EQ(GrainFor(kGrainBytes + 1), 1);
  EXPECT_EQ(GrainFor(INT64_MAX), 1);
}

}  // namespace
}  // namespace caffe2op_mask
