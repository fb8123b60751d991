#include "kernels/boolean_unmask.h"

#include "kernels/boolean_mask.h"
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
    return ClaimChunk(count_, left_, owned);
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

// Calls f(i, owned, count, row) for each mask i: what it owns of the piece, how
// many that are, and the first row of its values that the piece takes.
template <class F>
void ForEachOwner(
    const MaskedRows* masks, int64_t k, const ChunkPiece& piece, Unowned* unowned, const F& f) {
  Unowned before(piece.before());
  uint64_t owned[kChunkWords];
  for (int64_t i = 0; i < k; ++i) {
    const bool* const mask = masks[i].mask + piece.begin;
    const int64_t skipped = piece.before() == 0 ? 0 : before.Claim(mask - piece.before(), owned);
    const int64_t count = unowned->Claim(mask, owned);
    f(i, owned, count, masks[i].dense ? piece.begin : masks[i].offsets[piece.chunk] + skipped);
  }
}

// Rows so short that no chunk of them is cut, and that fits into the first-level cache.
constexpr int64_t kShortRow = 8;
static_assert(PiecesAreChunks(kShortRow), "a piece begins at its chunk's offset");

}  // namespace

int64_t CountOwned(MaskedRows* masks, int64_t k, int64_t n, ParallelFor parallel_for) {
  if (k == 1) {
    masks[0].owned = ChunkOffsets(masks[0].mask, n, masks[0].offsets, parallel_for);
    return n - masks[0].owned;
  }
  // Reads k bytes an entry, but asks for whole chunks.
  static_assert(PiecesAreChunks(1), "a chunk's count is one piece's");
  ForEachPiece(n, 1, Stores::kCached, parallel_for, [=](const ChunkPiece& piece) {
    Unowned unowned(piece.count);
    uint64_t owned[kChunkWords];
    for (int64_t i = 0; i < k; ++i) {
      masks[i].offsets[piece.chunk] = unowned.Claim(masks[i].mask + piece.begin, owned);
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
  const Stores stores = StoresFor(n * row_bytes);
  const bool alone = k == 1 && !masks[0].dense;
  ForEachPiece(n, row_bytes, stores, parallel_for, [=](const ChunkPiece& piece) {
    uint8_t* const to = static_cast<uint8_t*>(out) + piece.begin * row_bytes;
    if (alone && row_bytes <= kShortRow) {
      // All of the chunk is filled, to be still in the cache when rows come.
      uint64_t owned[kChunkWords];
      const int64_t count = PackChunk(masks[0].mask + piece.begin, piece.count, owned);
      const int64_t row = masks[0].offsets[piece.chunk];
      if (count < piece.count) FillSpan(fill_pattern, piece.count * row_bytes, to);
      const auto* const from = static_cast<const uint8_t*>(values[0]) + row * row_bytes;
      ExpandChunk(owned, piece.count, row_bytes, from, to);
      return;
    }
    int64_t filled = 0;
    Unowned unowned(piece.count);
    ForEachOwner(
        masks, k, piece, &unowned,
        [&](int64_t i, const uint64_t* owned, int64_t count, int64_t row) {
          const uint8_t* const from = static_cast<const uint8_t*>(values[i]) + row * row_bytes;
          (masks[i].dense ? BlendChunk : ExpandChunk)(
              owned, piece.count, row_bytes, from, to, stores);
          filled += count;
        });
    if (filled < piece.count) {
      SelectChunk(unowned.Owned(), piece.count, row_bytes, to, fill_pattern, to, stores);
    }
  });
}

void SplitRows(
    const MaskedRows* masks, int64_t k, int64_t n, int64_t row_bytes, const void* data,
    void* const* values, ParallelFor parallel_for) {
  if (row_bytes == 0) return;
  const Stores stores = StoresFor(n * row_bytes);
  ForEachPiece(n, row_bytes, stores, parallel_for, [=](const ChunkPiece& piece) {
    const uint8_t* const from = static_cast<const uint8_t*>(data) + piece.begin * row_bytes;
    Unowned unowned(piece.count);
    ForEachOwner(
        masks, k, piece, &unowned, [&](int64_t i, const uint64_t* owned, int64_t, int64_t row) {
          if (values[i] == nullptr) return;
          uint8_t* const to = static_cast<uint8_t*>(values[i]) + row * row_bytes;
          if (masks[i].dense) {
            SelectChunk(owned, piece.count, row_bytes, from, 0, to, stores);
          } else {
            CompressChunk(owned, piece.count, row_bytes, from, to, stores);
          }
        });
  });
}

}  // namespace caffe2op_mask
