#include "kernels/random_mask.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "tests/cpp/random_mask_testing.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/gate.h"

namespace caffe2op_mask {
namespace {

// From the known answers that Philox was published with.
TEST(PhiloxTest, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  constexpr uint32_t kAll = ~uint32_t{0};
  constexpr uint64_t kAll64 = ~uint64_t{0};
  const Words zeros{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const Words ones{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  const Words pi{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(Philox(0, 0, 0, 0), zeros);
  EXPECT_EQ(Philox(kAll, kAll, kAll64, kAll64), ones);
  EXPECT_EQ(Philox(0xa4093822, 0x299f31d0, 0x85a308d3243f6a88, 0x0370734413198a2e), pi);
  EXPECT_EQ(reference::Philox({0, 0, 0, 0}, 0, 0), zeros);
  EXPECT_EQ(reference::Philox({kAll, kAll, kAll, kAll}, kAll, kAll), ones);
  EXPECT_EQ(
      reference::Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
      pi);
}

TEST_F(RandomMaskKernelTest, ElementsAreThoseOfTheReference) {
  for (const int64_t size : Counts(random_)) {
    for (const double p : {0.0, 0.25, 0.5, 1.0}) {
      ExpectElements(p, size);
    }
  }
}

TEST_F(RandomMaskKernelTest, RowsAreWhole) {
  for (const int64_t columns : {1, 7, 300}) {
    constexpr int64_t kRows = 4000;
    const int64_t kept = ExpectRows(0.3, kRows, columns);
    const double deviation = std::sqrt(kRows * 0.3 * 0.7);
    EXPECT_NEAR(static_cast<double>(kept), kRows * 0.7, 5 * deviation);
  }
}

// Each column is masked with probability p, the first and the last too.
TEST_F(RandomMaskKernelTest, SpansAreWholeAndEvenlySpread) {
  constexpr int64_t kRows = 20000;
  for (const int64_t columns : {1, 2, 31}) {
    for (const int64_t span : {int64_t{1}, int64_t{2}, int64_t{5}, int64_t{64}, int64_t{1} << 62}) {
      for (const double p : {0.0, 0.1, 0.5, 0.97, 1.0}) {
        SCOPED_TRACE(::testing::Message() << columns << " columns, span " << span << ", p " << p);
        const std::vector<double> masked = ExpectSpans(p, span, kRows, columns);
        const double deviation = std::sqrt(kRows * p * (1 - p));
        for (const double count : masked) ASSERT_NEAR(count, kRows * p, 5 * deviation);
      }
    }
  }
}

TEST_F(RandomMaskKernelTest, LimitsOfRows) {
  for (const int64_t columns : {0, 1, 7, 64, 300}) {
    for (const int64_t span : {int64_t{0}, int64_t{1}, int64_t{5}, int64_t{1} << 62}) {
      for (const int64_t least : {int64_t{0}, int64_t{1}, int64_t{9}, int64_t{1} << 62}) {
        for (const double p : {0.0, 0.1, 0.9, 1.0}) ExpectLimits(p, span, least, 40, columns);
      }
    }
  }
}

TEST_F(RandomMaskKernelTest, RunsAndSeedsDiffer) {
  constexpr int64_t kSize = 10000;
  const auto draw = [&](RandomStream stream) {
    return Drawn(kSize, [&](bool* out, ParallelFor parallel_for) {
      RandomMaskElements(0.5, kSize, stream, out, parallel_for);
    });
  };
  const auto share_of_equal = [&](RandomStream a, RandomStream b) {
    const std::vector<bool> first = draw(a);
    const std::vector<bool> second = draw(b);
    int64_t equal = 0;
    for (size_t i = 0; i < kSize; ++i) equal += first[i] == second[i] ? 1 : 0;
    return static_cast<double>(equal) / kSize;
  };
  EXPECT_EQ(share_of_equal({3, 5}, {3, 5}), 1);
  EXPECT_NEAR(share_of_equal({3, 5}, {3, 6}), 0.5, 0.025);
  EXPECT_NEAR(share_of_equal({3, 5}, {4, 5}), 0.5, 0.025);
  EXPECT_NEAR(share_of_equal({3, 5}, {3, 5 + (uint64_t{1} << 32)}), 0.5, 0.025);
}

TEST_F(RandomMaskKernelTest, BernoulliAndItsGradient) {
  for (const Real type : RealTypes()) {
    for (const int64_t size : Counts(random_)) ExpectBernoulli(type, size);
  }
}

}  // namespace
}  // namespace caffe2op_mask
