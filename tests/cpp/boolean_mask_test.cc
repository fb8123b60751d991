#include "kernels/boolean_mask.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/chunk.h"
#include "tests/cpp/boolean_mask_testing.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask.h"

namespace caffe2op_mask {
namespace {

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
