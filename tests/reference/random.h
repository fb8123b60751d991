#pragma once

#include <array>
#include <cstdint>

namespace caffe2op_mask {
namespace reference {

// Philox4x32-10 as its authors wrote it down.
inline std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> counter, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    const auto high = [](uint64_t product) { return static_cast<uint32_t>(product >> 32); };
    counter = {
        high(b) ^ counter[1] ^ k0, static_cast<uint32_t>(b), high(a) ^ counter[3] ^ k1,
        static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

// The number of element i: of each 256 the first 64 are the first words of 64
// counters, the next 64 the second words, and so on.
inline uint32_t NumberOf(uint32_t seed, uint64_t run, int64_t i) {
  const auto block = static_cast<uint64_t>(i / 256 * 64 + i % 64);
  const std::array<uint32_t, 4> counter{
      static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(run),
      static_cast<uint32_t>(run >> 32)};
  return Philox(counter, seed, 0)[static_cast<size_t>(i % 256 / 64)];
}

// The same as a real of (0, 1).
inline double UnitOf(uint32_t seed, uint64_t run, int64_t i) {
  return ((NumberOf(seed, run, i) >> 9) + 0.5) / (1 << 23);
}

}  // namespace reference
}  // namespace caffe2op_mask
