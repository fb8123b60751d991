#include "kernels/boolean_unmask.h"

#include "kernels/chunk.h"

namespace caffe2op_mask {
namespace {

// The positions of a chunk that are still without an owner.
class Unowned {
 public:
  explicit Unowned(int64_t count) : count_(count) {
    for (int64_t w = 0; w * kWordEntries < count; ++w) {
      left_[w] = LowBits(count - w * kWordEntries);
    }
  }

  // Gives mask[0, count) what it is True for and nobody has; returns how many.
  int64_t Claim(const bool* mask, uint64_t* owned) {
    PackChunk(mask, count_, owned);
    int64_t claimed = 0;
    for (int64_t w = 0; w * kWordEntries < count_; ++w) {
      owned[w] &= left_[w];
      left_[w] ^= owned[w];
      claimed += __builtin_popcountll(owned[w]);
    }
    return claimed;
  }

  // Bits of the positions that have an owner.
  const uint64_t* Owned() {
    for (int64_t w = 0; w * kWordEntries < count_; ++w) {
      left_[w] ^= LowBits(count_ - w * kWordEntries);
    }
    return left_;
  }

  // Offset of the first without an owner, or count.
  int64_t First() const {
    for (int64_t w = 0; w * kWordEntries < count_; ++w) {
      if (left_[w] != 0) return w * kWordEntries + __builtin_ctzll(left_[w]);
    }
    return count_;
  }

 private:
  int64_t count_;
  uint64_t left_[kChunkWords];
};

}  // namespace

int64_t CountOwned(MaskedRows* masks, int64_t k, int64_t n, ParallelFor parallel_for) {
  ForEachChunk(n, k, parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    Unowned unowned(count);
    uint64_t owned[kChunkWords];
    for (int64_t i = 0; i < k; ++i) {
      masks[i].offsets[chunk] = unowned.Claim(masks[i].mask + begin, owned);
    }
  });
  int64_t total = 0;
  for (int64_t i = 0; i < k; ++i) {
    masks[i].owned = ExclusiveSum(masks[i].offsets, NumChunks(n));
    total += masks[i].owned;
  }
  return n - total;
}

int64_t FirstUnowned(const MaskedRows* masks, int64_t k, int64_t n) {
  for (int64_t begin = 0; begin < n; begin += kChunkEntries) {
    const int64_t count = std::min(kChunkEntries, n - begin);
    Unowned unowned(count);
    uint64_t owned[kChunkWords];
    for (int64_t i = 0; i < k; ++i) unowned.Claim(masks[i].mask + begin, owned);
    if (unowned.First() < count) return begin + unowned.First();
  }
  return n;
}

void ExpandRows(
    const MaskedRows* masks, int64_t k, int64_t n, int64_t row_bytes, const void* const* values,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for) {
  if (row_bytes == 0) return;
  ForEachChunk(n, k + row_bytes, parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    uint8_t* const to = static_cast<uint8_t*>(out) + begin * row_bytes;
    Unowned unowned(count);
    uint64_t owned[kChunkWords];
    int64_t filled = 0;
    for (int64_t i = 0; i < k; ++i) {
      filled += unowned.Claim(masks[i].mask + begin, owned);
      const int64_t first = masks[i].dense ? begin : masks[i].offsets[chunk];
      const uint8_t* const from = static_cast<const uint8_t*>(values[i]) + first * row_bytes;
      (masks[i].dense ? BlendChunk : ExpandChunk)(owned, count, row_bytes, from, to);
    }
    if (filled < count) SelectChunk(unowned.Owned(), count, row_bytes, to, fill_pattern, to);
  });
}

void SplitRows(
    const MaskedRows* masks, int64_t k, int64_t n, int64_t row_bytes, const void* data,
    void* const* values, ParallelFor parallel_for) {
  if (row_bytes == 0) return;
  ForEachChunk(n, k + row_bytes, parallel_for, [=](int64_t chunk, int64_t begin, int64_t count) {
    const uint8_t* const from = static_cast<const uint8_t*>(data) + begin * row_bytes;
    Unowned unowned(count);
    uint64_t owned[kChunkWords];
    for (int64_t i = 0; i < k; ++i) {
      unowned.Claim(masks[i].mask + begin, owned);
      if (values[i] == nullptr) continue;
      const int64_t first = masks[i].dense ? begin : masks[i].offsets[chunk];
      uint8_t* const to = static_cast<uint8_t*>(values[i]) + first * row_bytes;
      if (masks[i].dense) {
        SelectChunk(owned, count, row_bytes, from, 0, to);
      } else {
        CompressChunk(owned, count, row_bytes, from, to);
      }
    }
  });
}

}  // namespace caffe2op_mask
