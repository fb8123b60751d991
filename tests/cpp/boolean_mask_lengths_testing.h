#pragma once

// Counts of segments and of rows against the oracle.

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/boolean_mask.h"
#include "kernels/boolean_mask_lengths.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask_lengths.h"

namespace caffe2op_mask {

template <typename Index>
class BooleanMaskLengthsKernelTest : public SeededTest {
 protected:
  void ExpectCounted(const std::vector<Index>& lengths, Pattern pattern) {
    const auto segments = static_cast<int64_t>(lengths.size());
    const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    SegmentTable table;
    const LengthsSum sum =
        SumLengths(lengths.data(), segments, &table, RandomFor(random_, segments));
    EXPECT_EQ(sum.total, total);
    EXPECT_EQ(sum.negative, -1);
    EXPECT_EQ(sum.overflow, -1);
    const Bytes keep = RandomMask(random_, total, pattern);
    const GuardedBytes mask(keep, random_() % 65);
    GuardedBytes counts(lengths.size() * sizeof(Index));
    CountTrueInSegments(
        mask.mask(), total, lengths.data(), segments, table, counts.template as<Index>(), nullptr,
        RandomFor(random_, total));
    Expect(counts, reference::CountTrueInSegments(keep, lengths));

    // The same with the offsets of chunks, as for compaction.
    std::vector<int64_t> offsets(static_cast<size_t>(NumChunks(total)));
    std::vector<int64_t> expected_offsets(offsets);
    const int64_t kept = CountTrueInSegments(
        mask.mask(), total, lengths.data(), segments, table, counts.template as<Index>(),
        offsets.data(), RandomFor(random_, total));
    Expect(counts, reference::CountTrueInSegments(keep, lengths));
    EXPECT_EQ(kept, ChunkOffsets(mask.mask(), total, expected_offsets.data(), SerialFor));
    EXPECT_EQ(offsets, expected_offsets);
  }

  void ExpectRows(int64_t rows, int64_t columns, Pattern pattern) {
    const Bytes keep = RandomMask(random_, rows * columns, pattern);
    const GuardedBytes mask(keep, random_() % 65);
    GuardedBytes counts(static_cast<size_t>(rows) * sizeof(Index));
    CountTrueInRows(
        mask.mask(), rows, columns, counts.template as<Index>(),
        RandomFor(random_, rows * columns));
    const std::vector<Index> lengths(static_cast<size_t>(rows), static_cast<Index>(columns));
    Expect(counts, reference::CountTrueInSegments(keep, lengths));
  }

  void Expect(GuardedBytes& counts, const std::vector<Index>& expected) {
    counts.ExpectGuards();
    const auto* const values = counts.as<Index>();
    ASSERT_EQ(std::vector<Index>(values, values + expected.size()), expected);
  }
};

}  // namespace caffe2op_mask
