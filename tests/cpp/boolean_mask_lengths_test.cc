#include "kernels/boolean_mask_lengths.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "tests/cpp/boolean_mask_lengths_testing.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask_lengths.h"

namespace caffe2op_mask {
namespace {

template <typename Index>
LengthsSum Sum(const std::vector<Index>& lengths) {
  SegmentTable table;
  return SumLengths(lengths.data(), static_cast<int64_t>(lengths.size()), &table, ShuffledFor);
}

using IndexTypes = ::testing::Types<int32_t, int64_t>;
TYPED_TEST_SUITE(BooleanMaskLengthsKernelTest, IndexTypes);

TYPED_TEST(BooleanMaskLengthsKernelTest, CountsSegments) {
  for (const int64_t segments : Counts(this->random_)) {
    for (const int64_t longest : {0, 1, 16, 70}) {
      std::vector<TypeParam> lengths(static_cast<size_t>(segments));
      for (TypeParam& length : lengths) {
        length = static_cast<TypeParam>(Uniform(this->random_, 0, longest));
      }
      const Pattern pattern = Patterns()[this->random_() % Patterns().size()];
      SCOPED_TRACE(
          ::testing::Message() << segments << " segments of up to " << longest << ", " << pattern);
      this->ExpectCounted(lengths, pattern);
    }
  }
}

TYPED_TEST(BooleanMaskLengthsKernelTest, CountsSegmentsOfEveryLength) {
  std::vector<TypeParam> lengths(260);
  std::iota(lengths.begin(), lengths.end(), TypeParam{0});
  for (const Pattern pattern : Patterns()) this->ExpectCounted(lengths, pattern);
}

TYPED_TEST(BooleanMaskLengthsKernelTest, CountsOneLongSegmentAmongEmptyOnes) {
  for (const size_t place : {size_t{0}, size_t{4095}, size_t{4096}, size_t{8192}}) {
    for (const int64_t length : {kChunkEntries - 1, kChunkEntries, 96 * kChunkEntries + 1}) {
      std::vector<TypeParam> lengths(8193, 0);
      lengths[place] = static_cast<TypeParam>(length);
      this->ExpectCounted(lengths, {0.5, false});
    }
  }
}

// Segments that begin or end where a group or a chunk does, with empty ones between.
TYPED_TEST(BooleanMaskLengthsKernelTest, CountsSegmentsAtTheEdgesOfGroups) {
  for (int round = 0; round < 40; ++round) {
    std::vector<TypeParam> lengths;
    for (int64_t total = 0; total < 40 * kChunkEntries;) {
      const int64_t edge = this->random_() % 2 == 0 ? 16 * kChunkEntries : kChunkEntries;
      const int64_t to_edge = edge - total % edge;
      const int64_t choices[] = {0, 0, 1, to_edge, to_edge - 1, to_edge + 1, to_edge + edge};
      lengths.push_back(static_cast<TypeParam>(choices[this->random_() % 7]));
      total += lengths.back();
    }
    lengths.resize(lengths.size() + this->random_() % 3, 0);
    this->ExpectCounted(lengths, {0.5, false});
  }
}

// So many that pieces and groups are larger than they are at least.
TYPED_TEST(BooleanMaskLengthsKernelTest, CountsMillionsOfSegments) {
  std::vector<TypeParam> lengths(kMaxPieces * 4096 + 12345);
  for (TypeParam& length : lengths) length = static_cast<TypeParam>(this->random_() % 3);
  this->ExpectCounted(lengths, {0.5, true});
}

TYPED_TEST(BooleanMaskLengthsKernelTest, CountsRowsThatThreadsShare) {
  for (const int64_t columns : {2 * kGrainBytes - 1, 2 * kGrainBytes, 5 * kGrainBytes + 77}) {
    const int64_t rows = 3;
    const Bytes keep = RandomMask(this->random_, rows * columns, {0.5, true});
    const GuardedBytes mask(keep, 3);
    GuardedBytes counts(static_cast<size_t>(rows) * sizeof(TypeParam));
    CountTrueInRows(mask.mask(), rows, columns, counts.as<TypeParam>(), ThreadedFor);
    const std::vector<TypeParam> lengths(
        static_cast<size_t>(rows), static_cast<TypeParam>(columns));
    this->Expect(counts, reference::CountTrueInSegments(keep, lengths));
  }
}

TYPED_TEST(BooleanMaskLengthsKernelTest, CountsRows) {
  for (const int64_t columns : {0, 1, 7, 8, 9, 63, 64, 65, 128, 1000, 4097}) {
    for (const int64_t rows : {0, 1, 2, 33, 200}) {
      for (const Pattern pattern : Patterns()) this->ExpectRows(rows, columns, pattern);
    }
  }
}

TYPED_TEST(BooleanMaskLengthsKernelTest, NamesTheFirstNegativeLength) {
  for (const int64_t place : {0, 1, 4095, 4096, 4097, 8192}) {
    for (const TypeParam negative : {TypeParam{-1}, std::numeric_limits<TypeParam>::min()}) {
      std::vector<TypeParam> lengths(8193, 1);
      lengths[static_cast<size_t>(place)] = negative;
      lengths[8192] = -1;
      const LengthsSum sum = Sum(lengths);
      EXPECT_EQ(sum.negative, place);
      EXPECT_EQ(sum.overflow, -1);
    }
  }
}

TEST(SumLengthsTest, NamesTheFirstLengthThatPassesInt64) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const auto sum = [](const std::vector<int64_t>& lengths) { return Sum(lengths); };
  EXPECT_EQ(sum({kMax, 0}).total, kMax);
  EXPECT_EQ(sum({kMax, 0}).overflow, -1);
  EXPECT_EQ(sum({kMax, 0, 1}).overflow, 2);
  EXPECT_EQ(sum({1, kMax, kMax, kMax}).overflow, 1);
  EXPECT_EQ(sum({kMax / 2 + 1, kMax / 2 + 1, 5}).overflow, 1);
  // A sum that wraps round to what it should be is still none.
  EXPECT_EQ(sum({kMax, kMax, 2, 6}).overflow, 1);
  EXPECT_EQ(sum({3, -1, kMax, kMax}).negative, 1);
  EXPECT_EQ(sum({3, -1, kMax, kMax}).overflow, -1);
}

TEST(SumLengthsTest, AddsInt32BeyondInt32) {
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  const std::vector<int32_t> lengths{kMax, kMax, kMax};
  EXPECT_EQ(Sum(lengths).total, int64_t{3} * kMax);
}

}  // namespace
}  // namespace caffe2op_mask
