#include "kernels/broadcast.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"

namespace caffe2op_mask {
namespace {

bool CanBroadcast(const Dims& dims, const Dims& small) {
  return caffe2op_mask::CanBroadcast(
      dims.data(), static_cast<int64_t>(dims.size()), small.data(),
      static_cast<int64_t>(small.size()));
}

// Index by index, as the definition has it: where entry `flat` of the larger
// shape is found in the smaller tensor.
int64_t SmallEntry(const Dims& dims, const Dims& small, int64_t flat) {
  int64_t entry = 0;
  int64_t stride = 1;
  for (size_t back = 1; back <= dims.size(); ++back) {
    const int64_t size = dims[dims.size() - back];
    const int64_t index = flat % size;
    flat /= size;
    if (back > small.size()) continue;
    const int64_t small_size = small[small.size() - back];
    if (small_size != 1) entry += index * stride;
    stride *= small_size;
  }
  return entry;
}

class BroadcastTest : public SeededTest {};

TEST_F(BroadcastTest, EveryBroadcastOfUpToFiveDims) {
  for (int time = 0; time < 5000; ++time) {
    Dims dims(1 + random_() % 5);
    for (int64_t& dim : dims) dim = Uniform(random_, 1, 4);
    Dims small(dims.end() - static_cast<int64_t>(random_() % (dims.size() + 1)), dims.end());
    for (int64_t& dim : small) dim = random_() % 2 == 0 ? 1 : dim;
    SCOPED_TRACE(
        ::testing::Message() << ::testing::PrintToString(small) << " to "
                             << ::testing::PrintToString(dims));
    ASSERT_TRUE(CanBroadcast(dims, small));
    const RowBroadcast broadcast(
        dims.data(), static_cast<int64_t>(dims.size()), small.data(),
        static_cast<int64_t>(small.size()));
    ASSERT_EQ(broadcast.columns(), dims.back());
    ASSERT_EQ(broadcast.rows() * broadcast.columns(), Size(dims));
    ASSERT_EQ(broadcast.small_rows() * broadcast.small_columns(), Size(small));
    for (int64_t flat = 0; flat < Size(dims); ++flat) {
      const int64_t row = flat / dims.back();
      const int64_t column = flat % dims.back();
      ASSERT_EQ(
          broadcast.Offset(row) + column * broadcast.column_stride(),
          SmallEntry(dims, small, flat));
    }
    // Each row is served once, by the row of the smaller tensor that it reads.
    std::vector<int> served(static_cast<size_t>(broadcast.rows()));
    for (int64_t small_row = 0; small_row < broadcast.small_rows(); ++small_row) {
      for (int64_t k = 0; k < broadcast.repeats(); ++k) {
        const int64_t row = broadcast.Row(small_row, k);
        ASSERT_EQ(broadcast.Offset(row), small_row * broadcast.small_columns());
        ++served[static_cast<size_t>(row)];
      }
    }
    ASSERT_EQ(served, std::vector<int>(served.size(), 1));
  }
}

// The same entries by merged rows, and sums of which each larger entry is in one.
TEST_F(BroadcastTest, ElementsAndTheirSums) {
  for (int time = 0; time < 3000; ++time) {
    Dims dims(random_() % 5);
    for (int64_t& dim : dims) dim = Uniform(random_, 1, 4);
    if (time % 10 == 0 && !dims.empty()) dims[random_() % dims.size()] = Uniform(random_, 1, 2000);
    Dims small(dims.end() - static_cast<int64_t>(random_() % (dims.size() + 1)), dims.end());
    for (int64_t& dim : small) dim = random_() % 2 == 0 ? 1 : dim;
    SCOPED_TRACE(
        ::testing::Message() << ::testing::PrintToString(small) << " to "
                             << ::testing::PrintToString(dims));
    const RowBroadcast at = ElementBroadcast(
        dims.data(), static_cast<int64_t>(dims.size()), small.data(),
        static_cast<int64_t>(small.size()));
    ASSERT_EQ(at.rows() * at.columns(), Size(dims));
    ASSERT_EQ(at.small_rows() * at.small_columns(), Size(small));
    if (Size(dims) == Size(small) || Size(small) == 1) {
      EXPECT_EQ(at.rows(), 1);
    }
    for (int64_t flat = 0; flat < Size(dims); ++flat) {
      const int64_t row = flat / at.columns();
      ASSERT_EQ(
          at.Offset(row) + flat % at.columns() * at.column_stride(), SmallEntry(dims, small, flat));
    }
    const BroadcastSum sum(at);
    std::vector<int> summed(static_cast<size_t>(Size(dims)));
    std::vector<int> made(static_cast<size_t>(Size(small) * sum.parts()));
    for (int64_t u = 0; u < sum.units(); ++u) {
      const BroadcastSum::Unit unit = sum.UnitAt(u);
      ASSERT_LT(unit.part, sum.parts());
      for (int64_t k = unit.repeat; k < unit.repeat + unit.repeats; ++k) {
        for (int64_t column = unit.column; column < unit.column + unit.columns; ++column) {
          const int64_t row = at.Row(unit.small_row, k);
          ++summed[static_cast<size_t>(row * at.columns() + column)];
          const int64_t entry = at.Offset(row) + column * at.column_stride();
          made[static_cast<size_t>(unit.part * Size(small) + entry)] = 1;
        }
      }
    }
    ASSERT_EQ(summed, std::vector<int>(summed.size(), 1));
    ASSERT_EQ(made, std::vector<int>(made.size(), 1));
  }
}

// Each entry of a mask of leading dims covers what is behind them.
TEST_F(BroadcastTest, EntriesOfLeadingDims) {
  for (int time = 0; time < 3000; ++time) {
    Dims dims(random_() % 6);
    for (int64_t& dim : dims) dim = Uniform(random_, 1, 4);
    Dims mask = dims;
    mask.resize(random_() % (dims.size() + 1));
    for (int64_t& dim : mask) dim = random_() % 2 == 0 ? 1 : dim;
    SCOPED_TRACE(
        ::testing::Message() << ::testing::PrintToString(mask) << " to "
                             << ::testing::PrintToString(dims));
    const LeadingEntries entries = LeadingBroadcast(
        dims.data(), static_cast<int64_t>(dims.size()), mask.data(),
        static_cast<int64_t>(mask.size()));
    const RowBroadcast& at = entries.at;
    ASSERT_EQ(at.rows() * at.columns() * entries.covered, Size(dims));
    ASSERT_TRUE(at.column_stride() == 1 || at.columns() == 1);
    Dims trailing = mask;
    trailing.resize(dims.size(), 1);
    for (int64_t flat = 0; flat < Size(dims); ++flat) {
      const int64_t entry = flat / entries.covered;
      ASSERT_EQ(
          at.Offset(entry / at.columns()) + entry % at.columns(), SmallEntry(dims, trailing, flat));
    }
  }
  const Dims empty{int64_t{1} << 40, 0, int64_t{1} << 40};
  EXPECT_EQ(LeadingBroadcast(empty.data(), 3, empty.data(), 1).covered, 0);
}

TEST_F(BroadcastTest, OneEntryServesAll) {
  const RowBroadcast one;
  EXPECT_EQ(one.Offset(0), 0);
  EXPECT_EQ(one.column_stride(), 0);
}

TEST_F(BroadcastTest, WhatNumPyRefuses) {
  EXPECT_TRUE(CanBroadcast({2, 3}, {}));
  EXPECT_TRUE(CanBroadcast({2, 3}, {3}));
  EXPECT_TRUE(CanBroadcast({0, 3}, {1, 3}));
  EXPECT_FALSE(CanBroadcast({2, 3}, {2}));
  EXPECT_FALSE(CanBroadcast({2, 3}, {3, 3}));
  EXPECT_FALSE(CanBroadcast({3}, {1, 3}));  // the result would have another rank
  EXPECT_FALSE(CanBroadcast({1, 3}, {2, 3}));
  EXPECT_FALSE(CanBroadcast({2, 3}, {2, 0}));
}

}  // namespace
}  // namespace caffe2op_mask
