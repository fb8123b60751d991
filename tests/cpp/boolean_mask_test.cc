#include "kernels/boolean_mask.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/chunk.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask.h"

namespace caffe2op_mask {
namespace {

class BooleanMaskKernelTest : public SeededTest {
 protected:
  // The offsets, held against the count of True before each chunk.
  std::vector<int64_t> Offsets(const GuardedBytes& mask, int64_t n, int64_t kept) {
    std::vector<int64_t> offsets(static_cast<size_t>(NumChunks(n)), -1);
    EXPECT_EQ(ChunkOffsets(mask.mask(), n, offsets.data(), RandomFor(random_, n)), kept);
    int64_t before = 0;
    for (size_t chunk = 0; chunk < offsets.size(); ++chunk) {
      EXPECT_EQ(offsets[chunk], before) << "chunk " << chunk;
      const auto begin = static_cast<int64_t>(chunk) * kChunkEntries;
      before += reference::CountTrue(
          Bytes(mask.data() + begin, mask.data() + std::min(n, begin + kChunkEntries)));
    }
    return offsets;
  }

  void ExpectCompressed(const RowCase& one) {
    const Bytes keep = RandomMask(random_, one.count, one.pattern);
    const Bytes rows = RandomBytes(random_, one.count * one.row_bytes);
    const Bytes expected = reference::CompressRows(keep, static_cast<size_t>(one.row_bytes), rows);
    const GuardedBytes mask(keep, one.slack);
    const GuardedBytes data(rows, one.slack);
    const std::vector<int64_t> offsets = Offsets(mask, one.count, reference::CountTrue(keep));
    GuardedBytes out(expected.size(), one.slack);
    CompressRows(
        mask.mask(), one.count, offsets.data(), one.row_bytes, data.data(), out.data(),
        RandomFor(random_, one.count));
    out.Expect(expected);
  }

  void ExpectIndices(int64_t n, Pattern pattern) {
    SCOPED_TRACE(::testing::Message() << n << " entries, " << pattern);
    const Bytes keep = RandomMask(random_, n, pattern);
    const std::vector<int64_t> expected = reference::CompressIndices(keep);
    const GuardedBytes mask(keep, random_() % 65);
    const std::vector<int64_t> offsets = Offsets(mask, n, reference::CountTrue(keep));
    GuardedBytes out(expected.size() * sizeof(int64_t));
    CompressIndices(mask.mask(), n, offsets.data(), out.as<int64_t>(), RandomFor(random_, n));
    out.ExpectGuards();
    const auto* const indices = out.as<int64_t>();
    ASSERT_EQ(std::vector<int64_t>(indices, indices + expected.size()), expected);
  }
};

TEST_F(BooleanMaskKernelTest, CompressesRows) {
  ForEachRowCase(random_, 3 * kChunkEntries, [&](const RowCase& one) { ExpectCompressed(one); });
}

TEST_F(BooleanMaskKernelTest, RowsOfNoBytes) {
  const Bytes keep(5000, 1);
  const GuardedBytes mask(keep);
  const std::vector<int64_t> offsets = Offsets(mask, 5000, 5000);
  const GuardedBytes data(0);
  GuardedBytes out(0);
  CompressRows(mask.mask(), 5000, offsets.data(), 0, data.data(), out.data(), ShuffledFor);
  out.ExpectGuards();
}

TEST_F(BooleanMaskKernelTest, CompressesIndices) {
  for (const int64_t n : Counts(random_)) {
    for (const Pattern pattern : Patterns()) ExpectIndices(n, pattern);
  }
}

// Many chunks, many threads.
TEST_F(BooleanMaskKernelTest, CompressesRowsOfALargeMask) {
  constexpr int64_t kRows = (int64_t{1} << 20) + 77;
  for (const Pattern pattern : {Pattern{0.5, false}, Pattern{0.5, true}, Pattern{0.999, false}}) {
    const Bytes keep = RandomMask(random_, kRows, pattern);
    const Bytes rows = RandomBytes(random_, kRows * 4);
    const GuardedBytes mask(keep, 3);
    const GuardedBytes data(rows, 4);
    const std::vector<int64_t> offsets = Offsets(mask, kRows, reference::CountTrue(keep));
    const Bytes expected = reference::CompressRows(keep, 4, rows);
    GuardedBytes out(expected.size());
    CompressRows(mask.mask(), kRows, offsets.data(), 4, data.data(), out.data(), ThreadedFor);
    out.Expect(expected);
  }
}

TEST_F(BooleanMaskKernelTest, PiecesAreApart) {
  constexpr int64_t kRows = 20 * kChunkEntries + 5;
  const Bytes keep = RandomMask(random_, kRows, {0.5, false});
  const auto kept = static_cast<size_t>(reference::CountTrue(keep));
  const GuardedBytes mask(keep);
  const std::vector<int64_t> offsets = Offsets(mask, kRows, static_cast<int64_t>(kept));
  for (const int64_t row_bytes : {1, 2, 4, 8, 16, 12}) {
    const Bytes rows(static_cast<size_t>(kRows * row_bytes), 1);
    ExpectPiecesApart(
        kept * static_cast<size_t>(row_bytes), [&](ParallelFor parallel_for, uint8_t* out) {
          CompressRows(
              mask.mask(), kRows, offsets.data(), row_bytes, rows.data(), out, parallel_for);
        });
  }
}

}  // namespace
}  // namespace caffe2op_mask
