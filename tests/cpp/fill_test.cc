#include "kernels/fill.h"

#include <gtest/gtest.h>

#include "tests/cpp/fill_testing.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"

namespace caffe2op_mask {
namespace {

TEST(FillPatternTest, RepeatsTheElement) {
  EXPECT_EQ(FillPattern(uint8_t{0xAB}), 0xABABABABABABABAB);
  EXPECT_EQ(FillPattern(int8_t{-1}), ~uint64_t{0});
  EXPECT_EQ(FillPattern(uint16_t{0x1234}), 0x1234123412341234);
  EXPECT_EQ(FillPattern(uint32_t{0x12345678}), 0x1234567812345678);
  EXPECT_EQ(FillPattern(uint64_t{0x123456789ABCDEF0}), 0x123456789ABCDEF0);
  EXPECT_EQ(FillPattern(1.0F), 0x3F8000003F800000);
  EXPECT_EQ(FillPattern(1.0), 0x3FF0000000000000);
  EXPECT_EQ(FillPattern(true), 0x0101010101010101);
  EXPECT_EQ(FillPattern(0.0F), 0U);
}

TEST_F(FillTest, Fills) {
  for (const int64_t width : {1, 2, 4, 8}) {
    std::vector<int64_t> counts = Counts(random_);
    for (int64_t count = 0; count < 300; ++count) counts.push_back(count);
    for (const int64_t count : counts) {
      for (const size_t slack : {0U, 1U, 2U, 7U, 16U, 33U}) {
        ExpectFilled(width, count, slack);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(FillTest, Copies) {
  for (int64_t bytes = 0; bytes < 1500; bytes += Uniform(random_, 1, 9)) {
    for (const size_t slack : {0U, 1U, 31U, 64U}) {
      for (const Stores stores : {Stores::kCached, Stores::kStreamed}) {
        ExpectCopied(bytes, slack, stores);
      }
    }
  }
}

TEST_F(FillTest, StreamsWhatNoCacheHolds) {
  EXPECT_EQ(StoresFor(0), Stores::kCached);
  EXPECT_EQ(StoresFor(1 << 16), Stores::kCached);
  EXPECT_EQ(StoresFor(int64_t{1} << 30), Stores::kStreamed);
}

TEST_F(FillTest, MasksEveryInterval) {
  for (const int64_t width : {1, 2, 4, 8}) {
    for (const int64_t count : {1, 2, 7, 8, 17, 40}) {
      for (int64_t begin = 0; begin <= count; ++begin) {
        for (int64_t end = begin; end <= count; ++end) ExpectMasked(width, count, begin, end);
      }
    }
  }
}

TEST_F(FillTest, MasksRandomIntervals) {
  for (const int64_t width : {1, 2, 4, 8}) {
    for (const int64_t count : Counts(random_)) {
      for (int i = 0; i < 20; ++i) {
        const int64_t begin = Uniform(random_, 0, count);
        ExpectMasked(width, count, begin, Uniform(random_, begin, count));
      }
      ExpectMasked(width, count, 0, 0);
      ExpectMasked(width, count, count, count);
      ExpectMasked(width, count, 0, count);
    }
  }
}

// Sizes at which a kernel may choose to write past the cache.
TEST_F(FillTest, MasksLongSpans) {
  constexpr int64_t kElements = (int64_t{1} << 20) + 3;
  ExpectMasked(4, kElements, 0, kElements);
  ExpectMasked(4, kElements, 1, kElements - 1);
  ExpectMasked(4, kElements, kElements / 2, kElements / 2 + 1);
  ExpectMasked(2, kElements, kElements / 3, kElements / 2);
  ExpectMasked(8, kElements, kElements, kElements);
}

// In place, what is kept is not even written with what it is.
TEST_F(FillTest, InPlaceLeavesWhatIsKept) {
  for (const size_t bytes : {size_t{1}, size_t{64}, size_t{5000}}) {
    const Bytes in = RandomBytes(random_, static_cast<int64_t>(bytes));
    GuardedBytes same(in);
    same.MakeReadOnly();
    const auto size = static_cast<int64_t>(bytes);
    MaskSpan(same.data(), size, 0, size, 0, same.data());
    same.Expect(in);
  }
}

}  // namespace
}  // namespace caffe2op_mask
