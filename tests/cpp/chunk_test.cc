#include "kernels/chunk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/cpp/chunk_testing.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask.h"
#include "tests/reference/boolean_unmask.h"

namespace caffe2op_mask {
namespace {

TEST(ChunkSizeTest, CountsChunksAndBits) {
  EXPECT_EQ(NumChunks(0), 0);
  EXPECT_EQ(NumChunks(1), 1);
  EXPECT_EQ(NumChunks(4096), 1);
  EXPECT_EQ(NumChunks(4097), 2);
  EXPECT_EQ(LowBits(0), 0U);
  EXPECT_EQ(LowBits(1), 1U);
  EXPECT_EQ(LowBits(63), ~uint64_t{0} >> 1);
  EXPECT_EQ(LowBits(64), ~uint64_t{0});
  int64_t counts[] = {3, 0, 4};
  EXPECT_EQ(ExclusiveSum(counts, 3), 7);
  EXPECT_EQ(std::vector<int64_t>(counts, counts + 3), (std::vector<int64_t>{0, 3, 3}));
  EXPECT_EQ(ExclusiveSum(nullptr, 0), 0);
}

// Pieces lie in one chunk each and cover everything once; only where entries are
// long do they begin inside a chunk, and then between words.
TEST_F(ChunkTest, PiecesCoverEveryEntryOnce) {
  for (const int64_t n : Counts(random_)) {
    for (const int64_t entry_bytes : {1, 64, 65, 1000, 1 << 20}) {
      for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
        std::vector<uint8_t> visited(static_cast<size_t>(n), 0);
        const auto visit = [&](const ChunkPiece& piece) {
          EXPECT_GT(piece.count, 0);
          EXPECT_EQ(piece.begin / kChunkEntries, piece.chunk);
          EXPECT_EQ((piece.begin + piece.count - 1) / kChunkEntries, piece.chunk);
          EXPECT_EQ(piece.before() % (entry_bytes > 64 ? kWordEntries : kChunkEntries), 0);
          for (int64_t i = 0; i < piece.count; ++i) ++visited[static_cast<size_t>(piece.begin + i)];
        };
        ForEachPiece(n, entry_bytes, Stores::kStreamed, parallel_for, visit);
        EXPECT_EQ(std::count(visited.begin(), visited.end(), 1), n);
      }
    }
  }
}

TEST_F(ChunkTest, ClaimsWhatIsLeft) {
  for (const int64_t count : {0, 1, 63, 64, 65, 4096}) {
    const auto size = static_cast<size_t>((count + 63) / 64);
    std::vector<uint64_t> left(size);
    std::vector<uint64_t> owned(size);
    for (uint64_t& word : left) word = random_();
    for (uint64_t& word : owned) word = random_();
    std::vector<uint64_t> new_left(left);
    std::vector<uint64_t> new_owned(owned);
    int64_t claimed = 0;
    for (size_t w = 0; w < size; ++w) claimed += __builtin_popcountll(left[w] & owned[w]);
    EXPECT_EQ(ClaimChunk(count, new_left.data(), new_owned.data()), claimed);
    for (size_t w = 0; w < size; ++w) {
      EXPECT_EQ(new_owned[w], left[w] & owned[w]);
      EXPECT_EQ(new_left[w], left[w] & ~owned[w]);
    }
  }
}

TEST_F(ChunkTest, PacksEveryByte) {
  Bytes mask(256);
  std::iota(mask.begin(), mask.end(), uint8_t{0});
  ExpectPacked(mask, 0);
  for (size_t place = 0; place < 130; ++place) {
    for (const int byte : {0x00, 0x01, 0x02, 0x10, 0x7F, 0x80, 0xFE, 0xFF}) {
      mask.assign(130, 0);
      mask[place] = static_cast<uint8_t>(byte);
      ExpectPacked(mask, 0);
      if (HasFailure()) FAIL() << "byte " << byte << " at " << place;
    }
  }
}

TEST_F(ChunkTest, PacksEveryCount) {
  for (int64_t count = 0; count <= 320; ++count) {
    for (const Pattern pattern : Patterns()) {
      for (const size_t slack : {0U, 1U, 3U, 31U}) {
        ExpectPacked(RandomMask(random_, count, pattern), slack);
        if (HasFailure()) FAIL() << count << " entries, " << pattern << ", slack " << slack;
      }
    }
  }
  for (const Pattern pattern : Patterns()) {
    for (const int64_t count : {4031, 4032, 4033, 4095, 4096}) {
      ExpectPacked(RandomMask(random_, count, pattern), 0);
    }
  }
}

TEST_F(ChunkTest, CountsMasksOfManyChunks) {
  for (const int64_t count : Counts(random_)) {
    for (const Pattern pattern : Patterns()) {
      const Bytes mask = RandomMask(random_, 9 * count, pattern);
      const GuardedBytes memory(mask, random_() % 70);
      EXPECT_EQ(CountTrue(memory.mask(), 9 * count), reference::CountTrue(mask))
          << 9 * count << " entries, " << pattern;
    }
  }
}

// A table of a vector compress is indexed by bits of the mask: each is tried.
TEST_F(ChunkTest, MovesRowsByEveryMaskOf8) {
  for (const int64_t row_bytes : {1, 2, 3, 4, 8, 16}) {
    for (uint64_t bits = 0; bits < 256; ++bits) {
      for (const size_t place : {0U, 60U}) {
        Bytes mask(68, 0);
        for (size_t i = 0; i < 8; ++i) mask[place + i] = bits >> i & 1;
        ExpectMoved(mask, row_bytes, 0);
        if (HasFailure()) FAIL() << "bits " << bits << " at " << place << ", rows of " << row_bytes;
      }
    }
  }
}

TEST_F(ChunkTest, MovesRowsByEveryRun) {
  constexpr size_t kEntries = 70;
  for (const int64_t row_bytes : {1, 2, 4, 8, 12, 16}) {
    for (size_t begin = 0; begin < kEntries; begin += 1 + random_() % 3) {
      for (size_t end = begin; end <= kEntries; end += 1 + random_() % 5) {
        Bytes mask(kEntries, 0);
        std::fill(mask.begin() + static_cast<int>(begin), mask.begin() + static_cast<int>(end), 1);
        ExpectMoved(mask, row_bytes, 0);
        if (HasFailure()) {
          FAIL() << "True in [" << begin << ", " << end << "), rows of " << row_bytes;
        }
      }
    }
  }
}

TEST_F(ChunkTest, MovesRows) {
  ForEachRowCase(random_, kChunkEntries, [&](const RowCase& one) {
    ExpectMoved(RandomMask(random_, one.count, one.pattern), one.row_bytes, one.slack);
  });
}

TEST_F(ChunkTest, Indexes) {
  for (const int64_t count : Counts(random_)) {
    if (count > kChunkEntries) continue;
    for (const Pattern pattern : Patterns()) {
      for (const int64_t base : {int64_t{0}, int64_t{4096}, int64_t{1} << 40}) {
        ExpectIndexed(RandomMask(random_, count, pattern), base);
      }
    }
  }
  for (uint64_t bits = 0; bits < 256; ++bits) {
    Bytes mask(16, 0);
    for (size_t i = 0; i < 8; ++i) mask[3 + i] = bits >> i & 1;
    ExpectIndexed(mask, 0);
  }
}

}  // namespace
}  // namespace caffe2op_mask
