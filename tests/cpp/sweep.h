#pragma once

// What kernel tests sweep over: counts around the sizes of words, vectors and
// chunks, widths of rows, masks of every density, and ways to share out work.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/fill.h"
#include "kernels/parallel.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/reference/bytes.h"

namespace caffe2op_mask {

using reference::Bytes;
using Dims = std::vector<int64_t>;

inline int64_t Size(const Dims& dims) {
  return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

// Around every power of 2 that a vector, a word of 64 bits or a chunk of 4096
// entries may hold, and a few of no meaning.
inline std::vector<int64_t> Counts(Random& random) {
  std::vector<int64_t> counts{0,  1,  2,  3,  5,   7,   8,   9,   15,  16,   17,   31,   32,  33,
                              47, 63, 64, 65, 127, 128, 129, 191, 255, 4095, 4096, 4097, 8193};
  for (int i = 0; i < 3; ++i) counts.push_back(Uniform(random, 1, 3 * 4096));
  return counts;
}

// Widths that registers have, and others.
inline std::vector<int64_t> RowWidths() {
  return {1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 64, 100, 2048};
}

struct Pattern {
  double density;
  bool clustered;
};

inline std::vector<Pattern> Patterns() {
  return {{0, false},  {0.01, false},  {0.01, true},  {0.5, false},
          {0.5, true}, {0.999, false}, {0.999, true}, {1, false}};
}

inline std::ostream& operator<<(std::ostream& out, const Pattern& pattern) {
  return out << pattern.density * 100 << " % True" << (pattern.clustered ? ", clustered" : "");
}

inline Bytes RandomBytes(Random& random, int64_t size) {
  Bytes bytes(static_cast<size_t>(size));
  for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
    const uint64_t drawn = random.engine()();
    std::memcpy(bytes.data() + i, &drawn, std::min(sizeof(drawn), bytes.size() - i));
  }
  return bytes;
}

// In every other mask, True is any byte but 0: so may a bool from outside be.
inline Bytes RandomMask(Random& random, int64_t size, Pattern pattern) {
  std::bernoulli_distribution keep(pattern.density);
  const bool any_byte = random() % 2 == 0;
  Bytes mask(static_cast<size_t>(size));
  bool kept = false;
  int64_t run = 0;
  for (uint8_t& entry : mask) {
    if (run-- == 0) {
      kept = keep(random);
      run = pattern.clustered ? Uniform(random, 0, 150) : 0;
    }
    if (kept) entry = any_byte ? static_cast<uint8_t>(Uniform(random, 1, 255)) : uint8_t{1};
  }
  return mask;
}

// A pattern of 8 bytes that repeats every `width`.
inline uint64_t RandomFill(Random& random, int64_t width) {
  const uint64_t drawn = random();
  uint64_t pattern = 0;
  for (int64_t i = 0; i < 8; ++i) {
    std::memcpy(
        reinterpret_cast<char*>(&pattern) + i, reinterpret_cast<const char*>(&drawn) + i % width,
        1);
  }
  return pattern;
}

// The largest element whose fill a row of this width can hold.
inline int64_t FillWidth(int64_t row_bytes) {
  return row_bytes % 8 == 0 ? 8 : row_bytes % 4 == 0 ? 4 : row_bytes % 2 == 0 ? 2 : 1;
}

inline Stores RandomStores(Random& random) {
  return random() % 2 == 0 ? Stores::kCached : Stores::kStreamed;
}

// Seeds how ShuffledFor and ThreadedFor cut.
inline std::atomic<uint64_t> piece_seed{1};

struct Piece {
  int64_t begin;
  int64_t end;
};

// [begin, end) in up to 40 pieces of any length, in any order. The grain says
// what is worth a thread, not what is right, so pieces may be smaller.
inline std::vector<Piece> RandomPieces(int64_t begin, int64_t end) {
  Random random(piece_seed++);
  std::vector<Piece> pieces;
  while (begin < end) {
    const int64_t most = std::max<int64_t>((end - begin) / 3, 1);
    const int64_t length = pieces.size() == 40 ? end - begin : Uniform(random, 1, most);
    pieces.push_back({begin, begin + length});
    begin += length;
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  return pieces;
}

inline void ShuffledFor(int64_t begin, int64_t end, int64_t /*grain*/, RangeBody body) {
  for (const Piece& piece : RandomPieces(begin, end)) body(piece.begin, piece.end);
}

inline void ThreadedFor(int64_t begin, int64_t end, int64_t /*grain*/, RangeBody body) {
  const std::vector<Piece> pieces = RandomPieces(begin, end);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) body(pieces[i].begin, pieces[i].end);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

// Every other piece of those that one seed gives, alone.
template <size_t kFirst>
void HalfFor(int64_t begin, int64_t end, int64_t /*grain*/, RangeBody body) {
  const std::vector<Piece> pieces = RandomPieces(begin, end);
  for (size_t i = kFirst; i < pieces.size(); i += 2) body(pieces[i].begin, pieces[i].end);
}

// Whoever runs the pieces, no two of them write the same byte: run(parallel_for,
// out) writes `size` bytes, none of them kSentinel.
template <class Run>
void ExpectPiecesApart(size_t size, const Run& run) {
  const uint64_t seed = piece_seed;
  GuardedBytes even(size);
  run(HalfFor<0>, even.data());
  piece_seed = seed;
  GuardedBytes odd(size);
  run(HalfFor<1>, odd.data());
  size_t written = 0;
  for (size_t i = 0; i < size; ++i) {
    const bool by_even = even.data()[i] != GuardedBytes::kSentinel;
    const bool by_odd = odd.data()[i] != GuardedBytes::kSentinel;
    ASSERT_FALSE(by_even && by_odd) << "byte " << i << " of " << size;
    written += by_even || by_odd ? 1 : 0;
  }
  EXPECT_EQ(written, size);
}

// SerialFor, ShuffledFor or ThreadedFor; threads, which are dear, where there is work for them.
inline ParallelFor RandomFor(Random& random, int64_t items) {
  const uint64_t drawn = random() % 4;
  if (drawn == 0 && items > 4096) return ThreadedFor;
  return drawn < 3 ? ShuffledFor : SerialFor;
}

struct RowCase {
  int64_t count;
  int64_t row_bytes;
  Pattern pattern;
  size_t slack;  // see GuardedBytes
};

// Calls f(case) for counts x widths x masks x slacks until one fails. Of large
// memory one slack is drawn, and some MiB are taken for one mask alone.
template <class F>
void ForEachRowCase(Random& random, int64_t max_count, const F& f) {
  constexpr int64_t kLarge = 1 << 14;
  constexpr int64_t kHuge = 1 << 18;
  const std::vector<size_t> slacks{0, 1, 8, 19};
  for (const int64_t count : Counts(random)) {
    for (const int64_t row_bytes : RowWidths()) {
      const int64_t bytes = count * row_bytes;
      if (count > max_count || bytes > 4097 * 2048) continue;
      for (const Pattern pattern : Patterns()) {
        if (bytes > kHuge && (pattern.density != 0.5 || pattern.clustered)) continue;
        const size_t drawn = slacks[random() % slacks.size()];
        for (const size_t slack : bytes > kLarge ? std::vector<size_t>{drawn} : slacks) {
          const RowCase one{count, row_bytes, pattern, slack};
          SCOPED_TRACE(
              ::testing::Message() << count << " rows of " << row_bytes << " bytes, " << pattern
                                   << ", " << slack << " bytes from the page's end");
          f(one);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace caffe2op_mask
