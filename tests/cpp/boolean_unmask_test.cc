#include "kernels/boolean_unmask.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/boolean_mask.h"
#include "kernels/chunk.h"
#include "kernels/fill.h"
#include "tests/cpp/boolean_unmask_testing.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_unmask.h"

namespace caffe2op_mask {
namespace {

TEST_F(BooleanUnmaskKernelTest, OneMask) {
  ForEachRowCase(random_, 3 * kChunkEntries, [&](const RowCase& one) {
    ExpectThereAndBack(one.count, 1, one.row_bytes, one.pattern, one.slack);
  });
}

TEST_F(BooleanUnmaskKernelTest, ManyMasks) {
  for (const int64_t k : {2, 3, 9}) {
    for (const int64_t n : Counts(random_)) {
      for (const int64_t row_bytes : {1, 2, 4, 8, 12, 16, 40}) {
        const Pattern pattern = Patterns()[random_() % Patterns().size()];
        ExpectThereAndBack(n, k, row_bytes, pattern, random_() % 2 * 19);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(BooleanUnmaskKernelTest, NoMaskAtAll) {
  EXPECT_EQ(CountOwned(nullptr, 0, 5000, SerialFor), 5000);
  EXPECT_EQ(FirstUnowned(nullptr, 0, 5000), 0);
  GuardedBytes out(5000);
  ExpandRows(nullptr, 0, 5000, 1, nullptr, FillPattern(uint8_t{9}), out.data(), ShuffledFor);
  out.Expect(Bytes(5000, 9));
}

TEST_F(BooleanUnmaskKernelTest, RowsOfNoBytes) {
  UnmaskCase one = Draw(5000, 2, 0, {0.5, false});
  Count(&one);
  EXPECT_TRUE(ExpectExpanded(one, 0).empty());
  ExpectSplit(one, {}, 0);
}

TEST_F(BooleanUnmaskKernelTest, FindsTheFirstUnowned) {
  for (const int64_t n : Counts(random_)) {
    const Bytes low = RandomMask(random_, n, {0.5, false});
    Bytes high = low;
    for (uint8_t& entry : high) entry = entry == 0 ? 1 : 0;
    const std::vector<int64_t> holes{0,     1,    62,   63,   64,   65,  n / 2,
                                     n - 1, 4095, 4096, 4097, 8191, 8192};
    for (const int64_t hole : holes) {
      if (hole < 0 || hole >= n) continue;
      Bytes first = low;
      Bytes second = high;
      // Behind the first hole there are others.
      for (int64_t p = hole; p < n; p += 1 + Uniform(random_, 0, 300)) {
        first[static_cast<size_t>(p)] = second[static_cast<size_t>(p)] = 0;
      }
      const GuardedBytes first_memory(first, random_() % 20);
      const GuardedBytes second_memory(second, random_() % 20);
      const MaskedRows masks[] = {
          {first_memory.mask(), false, nullptr, 0}, {second_memory.mask(), true, nullptr, 0}};
      EXPECT_EQ(FirstUnowned(masks, 2, n), hole) << "of " << n;
    }
    const GuardedBytes low_memory(low);
    const GuardedBytes high_memory(high);
    const MaskedRows masks[] = {
        {low_memory.mask(), false, nullptr, 0}, {high_memory.mask(), false, nullptr, 0}};
    EXPECT_EQ(FirstUnowned(masks, 2, n), n);
  }
}

// What CompressRows took out, ExpandRows puts back, and the rest is the fill.
TEST_F(BooleanUnmaskKernelTest, ExpandUndoesCompress) {
  for (const int64_t n : Counts(random_)) {
    for (const Pattern pattern : Patterns()) {
      const Bytes keep = RandomMask(random_, n, pattern);
      const Bytes rows = RandomBytes(random_, n * 4);
      std::vector<int64_t> offsets(static_cast<size_t>(NumChunks(n)));
      const GuardedBytes mask(keep);
      MaskedRows masked{mask.mask(), false, offsets.data(), 0};
      CountOwned(&masked, 1, n, ShuffledFor);
      std::vector<int64_t> same(offsets.size());
      EXPECT_EQ(ChunkOffsets(mask.mask(), n, same.data(), ShuffledFor), masked.owned);
      EXPECT_EQ(offsets, same);
      GuardedBytes compact(static_cast<size_t>(masked.owned) * 4);
      CompressRows(mask.mask(), n, offsets.data(), 4, rows.data(), compact.data(), ShuffledFor);
      GuardedBytes out(rows.size());
      const void* const values = compact.data();
      ExpandRows(&masked, 1, n, 4, &values, FillPattern(uint32_t{7}), out.data(), ShuffledFor);
      Bytes expected = rows;
      const Bytes seven{7, 0, 0, 0};
      for (size_t p = 0; p < keep.size(); ++p) {
        if (keep[p] == 0) reference::CopyBytes(seven, 0, 4, &expected, p * 4);
      }
      out.Expect(expected);
    }
  }
}

TEST_F(BooleanUnmaskKernelTest, PiecesAreApart) {
  constexpr int64_t kRows = 20 * kChunkEntries + 5;
  UnmaskCase one = Draw(kRows, 3, 4, {0.3, false});
  Count(&one);
  const Bytes rows(size_t{kRows} * 4, 1);
  const std::vector<const void*> values(3, rows.data());
  ExpectPiecesApart(rows.size(), [&](ParallelFor parallel_for, uint8_t* out) {
    ExpandRows(one.masks.data(), 3, kRows, 4, values.data(), 0, out, parallel_for);
  });
  for (size_t i = 0; i < one.masks.size(); ++i) {
    const int64_t count = one.masks[i].dense ? kRows : one.masks[i].owned;
    ExpectPiecesApart(static_cast<size_t>(count) * 4, [&](ParallelFor parallel_for, uint8_t* out) {
      std::vector<void*> to(3, nullptr);
      to[i] = out;
      SplitRows(one.masks.data(), 3, kRows, 4, rows.data(), to.data(), parallel_for);
    });
  }
}

}  // namespace
}  // namespace caffe2op_mask
