#pragma once

// Compaction against the oracle, and of threads against one.

#include <gtest/gtest.h>

#include <vector>

#include "kernels/boolean_mask.h"
#include "kernels/chunk.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask.h"

namespace caffe2op_mask {

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

}  // namespace caffe2op_mask
