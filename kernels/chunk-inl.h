// Per-target code of kernels/chunk.h; see kernels/chunk.cc.

#if defined(CAFFE2OP_MASK_KERNELS_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_CHUNK_INL_H_
#undef CAFFE2OP_MASK_KERNELS_CHUNK_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_CHUNK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/chunk.h"
#include "kernels/fill-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// ---- words

// Bits of mask[0, 64).
HWY_INLINE uint64_t PackWord(const uint8_t* HWY_RESTRICT mask) {
  const hn::CappedTag<uint8_t, 64> d;
  uint64_t word = 0;
  for (size_t i = 0; i < 64; i += hn::Lanes(d)) {
    uint8_t bits[8] = {};  // StoreMaskBits may write 8 bytes
    hn::StoreMaskBits(d, hn::Ne(hn::LoadU(d, mask + i), hn::Zero(d)), bits);
    uint64_t part = 0;
    std::memcpy(&part, bits, 8);
    word |= part << i;
  }
  return word;
}

// Bits of mask[0, count), count < 64; higher bits are 0.
HWY_INLINE uint64_t PackPartOfWord(const uint8_t* HWY_RESTRICT mask, int64_t count) {
#if HWY_TARGET <= HWY_AVX3
  // Loads that are masked in hardware do not touch what is masked.
  const __m512i entries = _mm512_maskz_loadu_epi8(LowBits(count), mask);
  return _mm512_test_epi8_mask(entries, entries);
#else
  uint8_t entries[64] = {};
  std::memcpy(entries, mask, static_cast<size_t>(count));
  return PackWord(entries);
#endif
}

// A bool may only be read where it is 0 or 1; the byte under it always.
HWY_INLINE const uint8_t* MaskBytes(const bool* mask) {
  return reinterpret_cast<const uint8_t*>(mask);
}

HWY_INLINE int64_t PackChunk(const bool* mask, int64_t count, uint64_t* HWY_RESTRICT words) {
  const uint8_t* const bytes = MaskBytes(mask);
  int64_t total = 0;
  int64_t i = 0;
  for (; i + kWordEntries <= count; i += kWordEntries) {
    const uint64_t word = PackWord(bytes + i);
    words[i / kWordEntries] = word;
    total += __builtin_popcountll(word);
  }
  if (i < count) {
    const uint64_t word = PackPartOfWord(bytes + i, count - i);
    words[i / kWordEntries] = word;
    total += __builtin_popcountll(word);
  }
  return total;
}

HWY_INLINE int64_t CountTrue(const bool* mask, int64_t n) {
  const uint8_t* const bytes = MaskBytes(mask);
  int64_t total = 0;
  int64_t i = 0;
  for (; i + kWordEntries <= n; i += kWordEntries) {
    total += __builtin_popcountll(PackWord(bytes + i));
  }
  if (i < n) total += __builtin_popcountll(PackPartOfWord(bytes + i, n - i));
  return total;
}

HWY_INLINE int64_t CountWords(const uint64_t* words, int64_t count) {
  int64_t total = 0;
  for (int64_t w = 0; w * kWordEntries < count; ++w) total += __builtin_popcountll(words[w]);
  return total;
}

// Calls f(entry) for each set bit of a word, entries counted from `base`.
template <class F>
HWY_INLINE void ForEachBit(uint64_t word, int64_t base, const F& f) {
  for (; word != 0; word &= word - 1) f(base + __builtin_ctzll(word));
}

// Calls f(begin, end) for each run of set bits of a word.
template <class F>
HWY_INLINE void ForEachRun(uint64_t word, int64_t base, const F& f) {
  while (word != 0) {
    const int begin = __builtin_ctzll(word);
    const uint64_t rest = ~word & (~uint64_t{0} << begin);
    const int end = rest == 0 ? 64 : __builtin_ctzll(rest);
    f(base + begin, base + end);
    word = end == 64 ? 0 : word & (~uint64_t{0} << end);
  }
}

// Calls f(begin, end) for each run of set bits of a chunk; runs reach across words.
template <class F>
HWY_INLINE void ForEachRunOfChunk(const uint64_t* words, int64_t count, const F& f) {
  int64_t begin = 0;  // of the run that is open, which ends at `end`
  int64_t end = 0;
  for (int64_t base = 0; base < count; base += kWordEntries) {
    ForEachRun(words[base / kWordEntries], base, [&](int64_t first, int64_t last) {
      if (first != end) {
        if (begin != end) f(begin, end);
        begin = first;
      }
      end = last;
    });
  }
  if (begin != end) f(begin, end);
}

// ---- groups: as many elements as a register moves at once

// Lane j of a mask's expansion is the number of set bits below j.
struct RankTable {
  constexpr RankTable() : ranks() {
    for (unsigned bits = 0; bits < 256; ++bits) {
      uint8_t rank = 0;
      for (unsigned j = 0; j < 8; ++j) {
        ranks[bits][j] = rank;
        if ((bits >> j & 1) != 0) ++rank;
      }
    }
  }
  alignas(8) uint8_t ranks[256][8];
};

// The set bits first, each as its position: what compacts 8 bytes.
struct PositionTable {
  constexpr PositionTable() : positions() {
    for (unsigned bits = 0; bits < 256; ++bits) {
      unsigned next = 0;
      for (unsigned j = 0; j < 8; ++j) {
        if ((bits >> j & 1) != 0) positions[bits][next++] = static_cast<uint8_t>(j);
      }
    }
  }
  alignas(8) uint8_t positions[256][8];
};

// x86 moves lanes by their mask from AVX-512 on, bytes and 16-bit lanes from
// VBMI2 on; Highway 1.0 has no name for the expanding half of it.
#if HWY_TARGET == HWY_AVX3_DL
template <typename T>
constexpr bool kNative = true;
#elif HWY_TARGET == HWY_AVX3
template <typename T>
constexpr bool kNative = sizeof(T) >= 4;
#else
template <typename T>
constexpr bool kNative = false;
#endif

// Elements of a group: a whole register where lanes move natively, 8 narrow
// lanes where a table does it.
template <typename T>
using Group =
    std::conditional_t<kNative<T> || (sizeof(T) >= 4), hn::ScalableTag<T>, hn::CappedTag<T, 8>>;

// The mask of a tag's lanes from its bits.
template <class D>
HWY_INLINE hn::Mask<D> MaskOf(D d, uint64_t bits) {
  uint8_t bytes[8];  // LoadMaskBits may read 8
  std::memcpy(bytes, &bits, 8);
  return hn::LoadMaskBits(d, bytes);
}

// Lane j of the result is lane indices[j] of v, for the up to 8 lanes of a group.
template <class V, typename T = hn::TFromV<V>>
HWY_INLINE V MoveLanes(V v, const uint8_t* HWY_RESTRICT indices) {
  const Group<T> d;
  const auto narrow = hn::LoadU(hn::Rebind<uint8_t, Group<T>>(), indices);
  if constexpr (sizeof(T) == 1) {
    return hn::TableLookupBytes(v, narrow);
  } else if constexpr (sizeof(T) == 2) {
    // Byte 2j comes from byte 2 indices[j], its neighbour from the one behind.
    const auto lanes = hn::PromoteTo(hn::RebindToUnsigned<Group<T>>(), narrow);
    const hn::RebindToUnsigned<Group<T>> du;
    const auto bytes = hn::Add(hn::Mul(lanes, hn::Set(du, 0x0202)), hn::Set(du, 0x0100));
    return hn::TableLookupBytes(v, hn::BitCast(d, bytes));
  } else if constexpr (sizeof(T) == 4) {
    const auto lanes = hn::PromoteTo(hn::RebindToUnsigned<Group<T>>(), narrow);
    return hn::TableLookupLanes(v, hn::IndicesFromVec(d, lanes));
  } else {
    const auto lanes = hn::PromoteTo(hn::Rebind<uint32_t, Group<T>>(), narrow);
    return hn::TableLookupLanes(
        v, hn::IndicesFromVec(d, hn::PromoteTo(hn::RebindToUnsigned<Group<T>>(), lanes)));
  }
}

// Lanes whose bit is set, first and in order; what is behind them is any.
template <class V, typename T = hn::TFromV<V>>
HWY_INLINE V CompressLanes(uint64_t bits, V v) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (kNative<T>) {
#if HWY_TARGET == HWY_AVX3_DL
    if constexpr (sizeof(T) == 1) return V{_mm512_maskz_compress_epi8(bits, v.raw)};
    if constexpr (sizeof(T) == 2) {
      return V{_mm512_maskz_compress_epi16(static_cast<__mmask32>(bits), v.raw)};
    }
#endif
    if constexpr (sizeof(T) == 4) {
      return V{_mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), v.raw)};
    }
    if constexpr (sizeof(T) == 8) {
      return V{_mm512_maskz_compress_epi64(static_cast<__mmask8>(bits), v.raw)};
    }
  }
#endif
  // Also where Highway has a Compress: its tables were slower where this was measured.
  static constexpr PositionTable kTable;
  return MoveLanes(v, kTable.positions[bits & 255]);
}

// Elements of `from` whose bit is set, one after the other; overwrites a group at `to`.
template <typename T>
HWY_INLINE void CompressGroup(uint64_t bits, const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
  const Group<T> d;
  hn::StoreU(CompressLanes(bits, hn::LoadU(d, from)), d, to);
}

// Lanes of v, in order, to where a bit is set; the other lanes are old's.
template <class V, typename T = hn::TFromV<V>>
HWY_INLINE V ExpandLanes(uint64_t bits, V v, V old) {
  const Group<T> d;
#if HWY_TARGET <= HWY_AVX3
  if constexpr (kNative<T>) {
    const auto mask = MaskOf(d, bits).raw;
#if HWY_TARGET == HWY_AVX3_DL
    if constexpr (sizeof(T) == 1) return V{_mm512_mask_expand_epi8(old.raw, mask, v.raw)};
    if constexpr (sizeof(T) == 2) return V{_mm512_mask_expand_epi16(old.raw, mask, v.raw)};
#endif
    if constexpr (sizeof(T) == 4) return V{_mm512_mask_expand_epi32(old.raw, mask, v.raw)};
    if constexpr (sizeof(T) == 8) return V{_mm512_mask_expand_epi64(old.raw, mask, v.raw)};
  }
#endif
  static constexpr RankTable kTable;
  return hn::IfThenElse(MaskOf(d, bits), MoveLanes(v, kTable.ranks[bits & 255]), old);
}

// Elements of `from`, in order, to the places in `to` whose bit is set; the
// others stay. Reads a whole group at `from` and `to`.
template <typename T>
HWY_INLINE void ExpandGroup(uint64_t bits, const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
  const Group<T> d;
  hn::StoreU(ExpandLanes(bits, hn::LoadU(d, from), hn::LoadU(d, to)), d, to);
}

// The same where what does not move may not be read or written: masked in hardware,
// without a guess at how much moves.
template <typename T>
HWY_INLINE void CompressPart(uint64_t bits, const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
  const Group<T> d;
  const auto moved = MaskOf(d, LowBits(__builtin_popcountll(bits)));
  hn::BlendedStore(CompressLanes(bits, hn::MaskedLoad(MaskOf(d, bits), d, from)), moved, d, to);
}

template <typename T>
HWY_INLINE void ExpandPart(uint64_t bits, const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
  const Group<T> d;
  const auto moved = MaskOf(d, LowBits(__builtin_popcountll(bits)));
  hn::BlendedStore(
      ExpandLanes(bits, hn::MaskedLoad(moved, d, from), hn::Zero(d)), MaskOf(d, bits), d, to);
}

// ---- chunks

// Chunks that keep no more than one entry in kSparse<T> are moved entry by entry,
// and lines of which nothing is kept are not read. What limits it is that lines
// which no prefetcher foresees cost some five times as much as lines in a row: so
// at most every fifth may be wanted.
template <typename T>
constexpr int64_t kSparse = sizeof(T) <= 4 ? 256 / int64_t{sizeof(T)} : 64;

// To expand, lines are read in a row anyway: what counts is the work for a word,
// which by groups is the same however few entries are set, and more of it the
// wider they are.
template <typename T>
constexpr int64_t kSparseExpand = sizeof(T) >= 4 ? 6 : 16;

// Positions of the set bits of a chunk, ascending. `positions` has room for 64
// more than there are. In a sparse mask the number of bits of a word cannot be
// predicted, so up to some number of them are extracted without asking.
HWY_INLINE void FlattenWords(
    const uint64_t* HWY_RESTRICT words, int64_t count, uint16_t* HWY_RESTRICT positions) {
#if HWY_TARGET == HWY_AVX3_DL
  const auto iota = hn::Iota(hn::Full512<uint8_t>(), 0);
  const hn::Full256<uint8_t> half;
  const hn::Full512<uint16_t> d;
  for (int64_t base = 0; base < count; base += kWordEntries) {
    const uint64_t word = words[base / kWordEntries];
    const int bits = __builtin_popcountll(word);
    const auto offset = hn::Set(d, static_cast<uint16_t>(base));
    const auto in_word = CompressLanes(word, iota);
    hn::StoreU(hn::Add(hn::PromoteTo(d, hn::LowerHalf(half, in_word)), offset), d, positions);
    if (bits > 32) {
      const auto rest = hn::PromoteTo(d, hn::UpperHalf(half, in_word));
      hn::StoreU(hn::Add(rest, offset), d, positions + 32);
    }
    positions += bits;
  }
#else
  for (int64_t base = 0; base < count; base += kWordEntries) {
    uint64_t word = words[base / kWordEntries];
    uint16_t* next = positions;
    positions += __builtin_popcountll(word);
    do {  // as simdjson does with its structural bits
      for (int i = 0; i < 3; ++i) {
        // The top bit keeps the count defined for 0; nobody reads what is stored then.
        *next++ = static_cast<uint16_t>(base + __builtin_ctzll(word | uint64_t{1} << 63));
        word &= word - 1;
      }
    } while (word != 0);
  }
#endif
}

template <typename T>
HWY_INLINE void CopyElement(const T* from, T* to) {
  std::memcpy(to, from, sizeof(T));
}

template <typename T>
HWY_INLINE void CopyWord(const T* HWY_RESTRICT from, T* HWY_RESTRICT to) {
  std::memcpy(to, from, 64 * sizeof(T));
}

// What moves between rows that lie spread, one for each entry, and rows that lie
// compact, one for each set entry; to compress and to expand differ in nothing else.
template <typename T>
struct ToCompact {
  using Spread = const T*;
  using Compact = T*;
  static constexpr int64_t kSparseChunk = kSparse<T>;
  static HWY_INLINE void Element(const T* spread, T* compact) { CopyElement(spread, compact); }
  static HWY_INLINE void Word(const T* spread, T* compact) { CopyWord(spread, compact); }
  static HWY_INLINE void Group(uint64_t bits, const T* spread, T* compact) {
    CompressGroup(bits, spread, compact);
  }
  static HWY_INLINE void Part(uint64_t bits, const T* spread, T* compact) {
    CompressPart(bits, spread, compact);
  }
};

template <typename T>
struct ToSpread {
  using Spread = T*;
  using Compact = const T*;
  static constexpr int64_t kSparseChunk = kSparseExpand<T>;
  static HWY_INLINE void Element(T* spread, const T* compact) { CopyElement(compact, spread); }
  static HWY_INLINE void Word(T* spread, const T* compact) { CopyWord(compact, spread); }
  static HWY_INLINE void Group(uint64_t bits, T* spread, const T* compact) {
    ExpandGroup(bits, compact, spread);
  }
  static HWY_INLINE void Part(uint64_t bits, T* spread, const T* compact) {
    ExpandPart(bits, compact, spread);
  }
};

// Moves the elements of set entries: Move is ToCompact<T> or ToSpread<T>.
template <typename T, class Move>
HWY_INLINE void MoveElements(
    const uint64_t* HWY_RESTRICT words, int64_t count, typename Move::Spread HWY_RESTRICT spread,
    typename Move::Compact HWY_RESTRICT compact) {
  constexpr int64_t kLanes = hn::MaxLanes(Group<T>());
  const int64_t total = CountWords(words, count);
  if (total * Move::kSparseChunk <= count) {
    uint16_t positions[kChunkEntries / Move::kSparseChunk + kWordEntries];
    FlattenWords(words, count, positions);
    for (int64_t i = 0; i < total; ++i) Move::Element(spread + positions[i], compact + i);
    return;
  }
  const auto end = compact + total;
  for (int64_t base = 0; base < count; base += kWordEntries) {
    const uint64_t word = words[base / kWordEntries];
    const int kept = __builtin_popcountll(word);
    if (kept == 0) continue;
    if (kept == kWordEntries && !kNative<T>) {
      // Moving lanes natively costs less than a wrong guess here would.
      Move::Word(spread + base, compact);
      compact += kWordEntries;
    } else if (end - compact < kept + kLanes || count - base < kWordEntries) {
      // Near the end a group may reach past what the chunk has, on either side.
      for (int64_t i = 0; i < std::min(kWordEntries, count - base); i += kLanes) {
        const uint64_t bits = word >> i & LowBits(kLanes);
        if constexpr (kNative<T>) {
          Move::Part(bits, spread + base + i, compact);
          compact += __builtin_popcountll(bits);
        } else if (end - compact >= kLanes && count - base - i >= kLanes) {
          Move::Group(bits, spread + base + i, compact);
          compact += __builtin_popcountll(bits);
        } else {
          ForEachBit(
              bits, base + i, [&](int64_t entry) { Move::Element(spread + entry, compact++); });
        }
      }
    } else {
      for (int64_t i = 0; i < kWordEntries; i += kLanes) {
        const uint64_t bits = word >> i & LowBits(kLanes);
        Move::Group(bits, spread + base + i, compact);
        compact += __builtin_popcountll(bits);
      }
    }
  }
}

// out = rows where set, else the fill or, without kFill, out as it was.
template <typename T, bool kFill>
HWY_INLINE void MergeElements(
    const uint64_t* HWY_RESTRICT words, int64_t count, const T* rows, T fill, T* out,
    Stores stores) {
  const hn::ScalableTag<T> d;
  constexpr int64_t kLanes = hn::MaxLanes(hn::ScalableTag<T>());
  const auto fills = hn::Set(d, fill);
  // Elements at odd places are merged with ordinary stores: a line is written at once or not.
  const bool stream =
      kFill && stores == Stores::kStreamed && rows != out &&
      ToAligned(reinterpret_cast<const uint8_t*>(out), kLanes * int64_t{sizeof(T)}) == 0;
  const auto merge = [&](int64_t at) HWY_ATTR {
    const uint64_t bits = words[at / kWordEntries] >> (at % kWordEntries) & LowBits(kLanes);
    const auto mask = MaskOf(d, bits);
    const auto v = hn::LoadU(d, rows + at);
    if (stream) {
      hn::Stream(hn::IfThenElse(mask, v, fills), d, out + at);
    } else {
      hn::StoreU(hn::IfThenElse(mask, v, kFill ? fills : hn::LoadU(d, out + at)), d, out + at);
    }
  };
  int64_t base = 0;
  for (; base + kWordEntries <= count; base += kWordEntries) {
    const uint64_t word = words[base / kWordEntries];
    if (word == ~uint64_t{0} && !stream) {
      if (rows != out) CopyWord(rows + base, out + base);
    } else if (word != 0 || kFill) {
      for (int64_t i = 0; i < kWordEntries; i += kLanes) merge(base + i);
    }
  }
  for (; base + kLanes <= count; base += kLanes) merge(base);
  for (; base < count; ++base) {
    if ((words[base / kWordEntries] >> (base % kWordEntries) & 1) != 0) {
      if (rows != out) CopyElement(rows + base, out + base);
    } else if (kFill) {
      CopyElement(&fill, out + base);
    }
  }
}

// Calls f with an element of row_bytes, or with nullptr where rows are not
// elements but runs of bytes. 16 bytes move one by one, but not as a run.
struct Bytes16 {
  uint64_t half[2];
};

template <class F>
HWY_INLINE void DispatchRow(int64_t row_bytes, const F& f) {
  switch (row_bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    case 16: return f(Bytes16{});
    default: return f(nullptr);
  }
}

HWY_INLINE void CompressChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  DispatchRow(row_bytes, [&](auto element) HWY_ATTR {
    using T = decltype(element);
    if constexpr (std::is_integral<T>::value) {
      MoveElements<T, ToCompact<T>>(
          words, count, reinterpret_cast<const T*>(rows), reinterpret_cast<T*>(out));
    } else if constexpr (std::is_same<T, Bytes16>::value) {
      for (int64_t base = 0; base < count; base += kWordEntries) {
        ForEachBit(words[base / kWordEntries], base, [&](int64_t entry) {
          std::memcpy(out, rows + entry * 16, 16);
          out += 16;
        });
      }
    } else {
      ForEachRunOfChunk(words, count, [&](int64_t begin, int64_t end) HWY_ATTR {
        const int64_t bytes = (end - begin) * row_bytes;
        CopyBytes(rows + begin * row_bytes, bytes, out, stores);
        out += bytes;
      });
    }
  });
}

HWY_INLINE void ExpandChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  DispatchRow(row_bytes, [&](auto element) HWY_ATTR {
    using T = decltype(element);
    if constexpr (std::is_integral<T>::value) {
      MoveElements<T, ToSpread<T>>(
          words, count, reinterpret_cast<T*>(out), reinterpret_cast<const T*>(rows));
    } else if constexpr (std::is_same<T, Bytes16>::value) {
      for (int64_t base = 0; base < count; base += kWordEntries) {
        ForEachBit(words[base / kWordEntries], base, [&](int64_t entry) {
          std::memcpy(out + entry * 16, rows, 16);
          rows += 16;
        });
      }
    } else {
      ForEachRunOfChunk(words, count, [&](int64_t begin, int64_t end) HWY_ATTR {
        const int64_t bytes = (end - begin) * row_bytes;
        CopyBytes(rows, bytes, out + begin * row_bytes, stores);
        rows += bytes;
      });
    }
  });
}

HWY_INLINE void BlendChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  DispatchRow(row_bytes, [&](auto element) HWY_ATTR {
    using T = decltype(element);
    if constexpr (std::is_integral<T>::value) {
      MergeElements<T, false>(
          words, count, reinterpret_cast<const T*>(rows), 0, reinterpret_cast<T*>(out), stores);
    } else {
      ForEachRunOfChunk(words, count, [&](int64_t begin, int64_t end) HWY_ATTR {
        const int64_t at = begin * row_bytes;
        CopyBytes(rows + at, (end - begin) * row_bytes, out + at, stores);
      });
    }
  });
}

HWY_INLINE void SelectChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows,
    uint64_t fill_pattern, uint8_t* out, Stores stores) {
  DispatchRow(row_bytes, [&](auto element) HWY_ATTR {
    using T = decltype(element);
    if constexpr (std::is_integral<T>::value) {
      MergeElements<T, true>(
          words, count, reinterpret_cast<const T*>(rows), static_cast<T>(fill_pattern),
          reinterpret_cast<T*>(out), stores);
    } else {
      int64_t filled = 0;
      ForEachRunOfChunk(words, count, [&](int64_t begin, int64_t end) HWY_ATTR {
        const int64_t at = begin * row_bytes;
        FillBytes(fill_pattern, at - filled, out + filled, stores);
        filled = end * row_bytes;
        if (rows != out) CopyBytes(rows + at, filled - at, out + at, stores);
      });
      FillBytes(fill_pattern, count * row_bytes - filled, out + filled, stores);
    }
  });
}

HWY_INLINE void IndexChunk(
    const uint64_t* words, int64_t count, int64_t base, int64_t* HWY_RESTRICT out) {
  const int64_t total = CountWords(words, count);
  if (total * kSparse<int64_t> <= count) {
    uint16_t positions[kChunkEntries / kSparse<int64_t> + kWordEntries];
    FlattenWords(words, count, positions);
    for (int64_t i = 0; i < total; ++i) out[i] = base + positions[i];
    return;
  }
  const hn::ScalableTag<int64_t> d;
  constexpr int64_t kLanes = hn::MaxLanes(hn::ScalableTag<int64_t>());
  const auto iota = hn::Iota(d, 0);
  const int64_t* const end = out + total;
  for (int64_t first = 0; first < count; first += kWordEntries) {
    const uint64_t word = words[first / kWordEntries];
    const int kept = __builtin_popcountll(word);
    if (end - out < kept + kLanes) {
      ForEachBit(word, base + first, [&](int64_t entry) { *out++ = entry; });
    } else {
      for (int64_t i = 0; i < kWordEntries; i += kLanes) {
        const uint64_t bits = word >> i & LowBits(kLanes);
        hn::StoreU(CompressLanes(bits, hn::Add(iota, hn::Set(d, base + first + i))), d, out);
        out += __builtin_popcountll(bits);
      }
    }
  }
}

// owned &= left, left &= ~owned; returns the bits owned.
HWY_INLINE int64_t
ClaimChunk(int64_t count, uint64_t* HWY_RESTRICT left, uint64_t* HWY_RESTRICT owned) {
  int64_t claimed = 0;
  for (int64_t w = 0; w * kWordEntries < count; ++w) {
    owned[w] &= left[w];
    left[w] ^= owned[w];
    claimed += __builtin_popcountll(owned[w]);
  }
  return claimed;
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
