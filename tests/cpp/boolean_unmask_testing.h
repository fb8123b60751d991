#pragma once

// Expansion, with masks that overlap, against the oracle.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "kernels/boolean_mask.h"
#include "kernels/boolean_unmask.h"
#include "kernels/chunk.h"
#include "kernels/fill.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_unmask.h"

namespace caffe2op_mask {

using GuardedMasks = std::vector<std::unique_ptr<GuardedBytes>>;

// Masks and rows as the reference has them, and as a kernel takes them.
struct UnmaskCase {
  int64_t n;
  int64_t row_bytes;
  std::vector<reference::MaskedRows> rows;
  GuardedMasks mask_memory;
  std::vector<std::vector<int64_t>> offsets;
  std::vector<MaskedRows> masks;

  int64_t k() const { return static_cast<int64_t>(masks.size()); }
};

class BooleanUnmaskKernelTest : public SeededTest {
 protected:
  // k masks, some dense and some compact, with rows for what they own.
  UnmaskCase Draw(int64_t n, int64_t k, int64_t row_bytes, Pattern pattern) {
    UnmaskCase one{n, row_bytes, {}, {}, {}, {}};
    for (int64_t i = 0; i < k; ++i) {
      one.rows.push_back({RandomMask(random_, n, pattern), random_() % 2 == 0, {}});
    }
    const Bytes data = RandomBytes(random_, n * row_bytes);
    reference::SplitRows(static_cast<size_t>(n), static_cast<size_t>(row_bytes), data, &one.rows);
    for (reference::MaskedRows& rows : one.rows) {
      // Of dense values, those that belong to others must not matter.
      rows.values = RandomBytes(random_, static_cast<int64_t>(rows.values.size()));
      one.mask_memory.push_back(std::make_unique<GuardedBytes>(rows.mask, random_() % 20));
      one.offsets.emplace_back(static_cast<size_t>(NumChunks(n)), -1);
    }
    for (size_t i = 0; i < one.rows.size(); ++i) {
      one.masks.push_back(
          {one.mask_memory[i]->mask(), one.rows[i].dense, one.offsets[i].data(), -1});
    }
    return one;
  }

  // CountOwned, held against the owner of every position.
  void Count(UnmaskCase* one) {
    std::vector<std::vector<int64_t>> offsets = one->offsets;
    std::vector<int64_t> owned(one->masks.size(), 0);
    int64_t unowned = 0;
    for (int64_t p = 0; p < one->n; ++p) {
      if (p % kChunkEntries == 0) {
        for (size_t i = 0; i < owned.size(); ++i) {
          offsets[i][static_cast<size_t>(p / kChunkEntries)] = owned[i];
        }
      }
      const size_t owner = reference::Owner(one->rows, static_cast<size_t>(p));
      ++(owner == reference::kNobody ? unowned : owned[owner]);
    }
    EXPECT_EQ(CountOwned(one->masks.data(), one->k(), one->n, RandomFor(random_, one->n)), unowned);
    EXPECT_EQ(one->offsets, offsets);
    for (size_t i = 0; i < owned.size(); ++i) EXPECT_EQ(one->masks[i].owned, owned[i]);
  }

  // Counts, expands, and splits what came of it.
  void ExpectThereAndBack(int64_t n, int64_t k, int64_t row_bytes, Pattern pattern, size_t slack) {
    SCOPED_TRACE(
        ::testing::Message() << k << " masks of " << n << " entries, rows of " << row_bytes
                             << " bytes, " << pattern << ", slack " << slack);
    UnmaskCase one = Draw(n, k, row_bytes, pattern);
    Count(&one);
    const Bytes data = ExpectExpanded(one, slack);
    ExpectSplit(one, data, slack);
  }

  Bytes ExpectExpanded(const UnmaskCase& one, size_t slack) {
    const auto bytes = static_cast<size_t>(one.n * one.row_bytes);
    const uint64_t fill = RandomFill(random_, FillWidth(one.row_bytes));
    GuardedMasks memory;
    std::vector<const void*> values;
    for (const reference::MaskedRows& rows : one.rows) {
      memory.push_back(std::make_unique<GuardedBytes>(rows.values, slack));
      values.push_back(memory.back()->data());
    }
    GuardedBytes out(bytes, slack);
    ExpandRows(
        one.masks.data(), one.k(), one.n, one.row_bytes, values.data(), fill, out.data(),
        RandomFor(random_, one.n));
    Bytes expected(bytes);
    reference::ExpandRows(
        one.rows, static_cast<size_t>(one.n), static_cast<size_t>(one.row_bytes), fill, &expected);
    out.Expect(expected);
    return expected;
  }

  void ExpectSplit(const UnmaskCase& one, const Bytes& data, size_t slack) {
    std::vector<reference::MaskedRows> expected = one.rows;
    reference::SplitRows(
        static_cast<size_t>(one.n), static_cast<size_t>(one.row_bytes), data, &expected);
    const GuardedBytes from(data, slack);
    GuardedMasks memory;
    std::vector<void*> values;
    for (const reference::MaskedRows& rows : expected) {
      memory.push_back(std::make_unique<GuardedBytes>(rows.values.size(), slack));
      // Values that nobody asks for.
      values.push_back(random_() % 5 == 0 ? nullptr : memory.back()->data());
    }
    SplitRows(
        one.masks.data(), one.k(), one.n, one.row_bytes, from.data(), values.data(),
        RandomFor(random_, one.n));
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] != nullptr) memory[i]->Expect(expected[i].values);
    }
  }
};

}  // namespace caffe2op_mask
