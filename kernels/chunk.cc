#include "kernels/chunk.h"

#include <cstring>

#include "kernels/fill.h"

namespace caffe2op_mask {
namespace {

struct Bytes16 {
  uint64_t half[2];
};

// A bool may only be read where it is 0 or 1; the byte under it always.
const uint8_t* MaskBytes(const bool* mask) {
  return reinterpret_cast<const uint8_t*>(mask);
}

// Bits of mask[0, count), count <= 64; higher bits are 0.
uint64_t PackWord(const uint8_t* mask, int64_t count) {
  uint64_t word = 0;
  for (int64_t i = 0; i < count; i += 8) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, mask + i, static_cast<size_t>(std::min<int64_t>(8, count - i)));
    // 1 for each byte that is not 0, without a carry into its neighbour ...
    constexpr uint64_t kLow7 = 0x7F7F7F7F7F7F7F7F;
    const uint64_t ones = ((((bytes & kLow7) + kLow7) | bytes) & ~kLow7) >> 7;
    // ... and the 8 ones gathered into one byte by a product.
    word |= (ones * 0x0102040810204080 >> 56) << i;
  }
  return word;
}

// Calls f(entry) for each set bit of a word, entries counted from `base`.
template <class F>
void ForEachBit(uint64_t word, int64_t base, const F& f) {
  for (; word != 0; word &= word - 1) f(base + __builtin_ctzll(word));
}

// Calls f(begin, end) for each run of set bits of a word.
template <class F>
void ForEachRun(uint64_t word, int64_t base, const F& f) {
  while (word != 0) {
    const int begin = __builtin_ctzll(word);
    const uint64_t rest = ~word & (~uint64_t{0} << begin);
    const int end = rest == 0 ? 64 : __builtin_ctzll(rest);
    f(base + begin, base + end);
    word = end == 64 ? 0 : word & (~uint64_t{0} << end);
  }
}

// Calls f(word, first entry, entries) for each word of a chunk.
template <class F>
void ForEachWord(const uint64_t* words, int64_t count, const F& f) {
  for (int64_t base = 0; base < count; base += kWordEntries) {
    f(words[base / kWordEntries], base, std::min(kWordEntries, count - base));
  }
}

void Copy(const uint8_t* from, int64_t bytes, uint8_t* to) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

// Calls f.template Run<T>() with an element of row_bytes, or f.Rows() where
// rows have no such size.
template <class F>
void DispatchRow(int64_t row_bytes, const F& f) {
  switch (row_bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    case 16: return f(Bytes16{});
    default: return f(nullptr);
  }
}

template <typename T>
constexpr bool kIsRow = std::is_same<T, std::nullptr_t>::value;

}  // namespace

int64_t PackChunk(const bool* mask, int64_t count, uint64_t* words) {
  int64_t total = 0;
  for (int64_t base = 0; base < count; base += kWordEntries) {
    const uint64_t word = PackWord(MaskBytes(mask) + base, std::min(kWordEntries, count - base));
    words[base / kWordEntries] = word;
    total += __builtin_popcountll(word);
  }
  return total;
}

int64_t CountTrue(const bool* mask, int64_t n) {
  int64_t total = 0;
  for (int64_t base = 0; base < n; base += kWordEntries) {
    total +=
        __builtin_popcountll(PackWord(MaskBytes(mask) + base, std::min(kWordEntries, n - base)));
  }
  return total;
}

void CompressChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out) {
  DispatchRow(row_bytes, [&](auto element) {
    using T = decltype(element);
    ForEachWord(words, count, [&](uint64_t word, int64_t base, int64_t entries) {
      if (kIsRow<T> || word == LowBits(entries)) {
        ForEachRun(word, base, [&](int64_t begin, int64_t end) {
          const int64_t bytes = (end - begin) * row_bytes;
          Copy(rows + begin * row_bytes, bytes, out);
          out += bytes;
        });
      } else {
        ForEachBit(word, base, [&](int64_t entry) {
          std::memcpy(out, rows + entry * static_cast<int64_t>(sizeof(T)), sizeof(T));
          out += sizeof(T);
        });
      }
    });
  });
}

void IndexChunk(const uint64_t* words, int64_t count, int64_t base, int64_t* out) {
  ForEachWord(words, count, [&](uint64_t word, int64_t first, int64_t) {
    ForEachBit(word, base + first, [&](int64_t entry) { *out++ = entry; });
  });
}

void ExpandChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out) {
  DispatchRow(row_bytes, [&](auto element) {
    using T = decltype(element);
    ForEachWord(words, count, [&](uint64_t word, int64_t base, int64_t entries) {
      if (kIsRow<T> || word == LowBits(entries)) {
        ForEachRun(word, base, [&](int64_t begin, int64_t end) {
          const int64_t bytes = (end - begin) * row_bytes;
          Copy(rows, bytes, out + begin * row_bytes);
          rows += bytes;
        });
      } else {
        ForEachBit(word, base, [&](int64_t entry) {
          std::memcpy(out + entry * static_cast<int64_t>(sizeof(T)), rows, sizeof(T));
          rows += sizeof(T);
        });
      }
    });
  });
}

void BlendChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out) {
  ForEachWord(words, count, [&](uint64_t word, int64_t base, int64_t) {
    ForEachRun(word, base, [&](int64_t begin, int64_t end) {
      Copy(rows + begin * row_bytes, (end - begin) * row_bytes, out + begin * row_bytes);
    });
  });
}

void SelectChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows,
    uint64_t fill_pattern, uint8_t* out) {
  if (rows != out) BlendChunk(words, count, row_bytes, rows, out);
  ForEachWord(words, count, [&](uint64_t word, int64_t base, int64_t entries) {
    ForEachRun(~word & LowBits(entries), base, [&](int64_t begin, int64_t end) {
      FillSpan(fill_pattern, (end - begin) * row_bytes, out + begin * row_bytes);
    });
  });
}

}  // namespace caffe2op_mask
