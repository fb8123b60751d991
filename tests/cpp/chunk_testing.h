#pragma once

// What is made of the words of a chunk, against the oracle.

#include <gtest/gtest.h>

#include <vector>

#include "kernels/chunk.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/boolean_mask.h"
#include "tests/reference/boolean_unmask.h"

namespace caffe2op_mask {

// The bits of a mask in memory that has no byte to spare.
class MaskWords {
 public:
  explicit MaskWords(const Bytes& mask)
      : bytes_((mask.size() + 63) / 64 * sizeof(uint64_t)), words_(bytes_.as<uint64_t>()) {
    std::memset(words_, 0, bytes_.size());
    for (size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] != 0) words_[i / 64] |= uint64_t{1} << i % 64;
    }
  }

  const uint64_t* data() const { return words_; }
  Bytes bytes() const { return {bytes_.data(), bytes_.data() + bytes_.size()}; }

 private:
  GuardedBytes bytes_;
  uint64_t* words_;
};

class ChunkTest : public SeededTest {
 protected:
  // PackChunk and CountTrue of a mask, `slack` bytes from a page's end.
  void ExpectPacked(const Bytes& mask, size_t slack) {
    const GuardedBytes memory(mask, slack);
    const auto count = static_cast<int64_t>(mask.size());
    const MaskWords expected(mask);
    GuardedBytes words(expected.bytes().size());
    EXPECT_EQ(PackChunk(memory.mask(), count, words.as<uint64_t>()), reference::CountTrue(mask));
    words.Expect(expected.bytes());
    EXPECT_EQ(CountTrue(memory.mask(), count), reference::CountTrue(mask));
  }

  // The four that move rows by words, for one mask and rows of one width.
  void ExpectMoved(const Bytes& mask, int64_t row_bytes, size_t slack) {
    const auto count = static_cast<int64_t>(mask.size());
    const auto width = static_cast<size_t>(row_bytes);
    const MaskWords words(mask);
    const Bytes rows = RandomBytes(random_, count * row_bytes);
    const GuardedBytes from(rows, slack);
    const Bytes kept = reference::CompressRows(mask, width, rows);
    const Stores stores = RandomStores(random_);
    {
      GuardedBytes out(kept.size(), slack);
      CompressChunk(words.data(), count, row_bytes, from.data(), out.data(), stores);
      out.Expect(kept);
    }
    const Bytes before(rows.size(), GuardedBytes::kSentinel);
    Bytes expected = before;
    reference::ExpandRows({{mask, true, rows}}, mask.size(), width, {}, &expected);
    {
      const GuardedBytes compact(kept, slack);
      GuardedBytes out(before, slack);
      ExpandChunk(words.data(), count, row_bytes, compact.data(), out.data(), stores);
      out.Expect(expected);
    }
    {
      GuardedBytes out(before, slack);
      BlendChunk(words.data(), count, row_bytes, from.data(), out.data(), stores);
      out.Expect(expected);
    }
    const uint64_t fill = RandomFill(random_, FillWidth(row_bytes));
    reference::ExpandRows({{mask, true, rows}}, mask.size(), width, fill, &expected);
    {
      GuardedBytes out(before, slack);
      SelectChunk(words.data(), count, row_bytes, from.data(), fill, out.data(), stores);
      out.Expect(expected);
    }
    {
      GuardedBytes out(rows, slack);
      SelectChunk(words.data(), count, row_bytes, out.data(), fill, out.data(), stores);
      out.Expect(expected);
    }
  }

  void ExpectIndexed(const Bytes& mask, int64_t base) {
    std::vector<int64_t> expected = reference::CompressIndices(mask);
    for (int64_t& index : expected) index += base;
    GuardedBytes out(expected.size() * sizeof(int64_t));
    IndexChunk(MaskWords(mask).data(), static_cast<int64_t>(mask.size()), base, out.as<int64_t>());
    out.ExpectGuards();
    const auto* const indices = out.as<int64_t>();
    EXPECT_EQ(std::vector<int64_t>(indices, indices + expected.size()), expected);
  }
};

}  // namespace caffe2op_mask
