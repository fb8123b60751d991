#pragma once

// Random numbers that are computed from their place: the i-th of a run is the same
// on whatever thread it is drawn, and can be drawn again. By Philox4x32-10 (Salmon
// et al., Parallel Random Numbers: As Easy as 1, 2, 3).

#include <array>
#include <cstdint>

namespace caffe2op_mask {

// Which numbers an operator draws: those of its seed, anew on each of its runs.
struct RandomStream {
  uint32_t seed;
  uint64_t run;
};

// Numbers are made in groups of so many; see RandomGroup in kernels/random-inl.h.
constexpr int64_t kRandomGroup = 256;

constexpr uint32_t kPhiloxMultipliers[2] = {0xD2511F53, 0xCD9E8D57};
constexpr uint32_t kPhiloxWeyl[2] = {0x9E3779B9, 0xBB67AE85};
constexpr int kPhiloxRounds = 10;

// Four numbers, those of a counter of 128 bits under a key of 64.
inline std::array<uint32_t, 4> Philox(
    uint32_t key_0, uint32_t key_1, uint64_t counter_low, uint64_t counter_high) {
  std::array<uint32_t, 4> c{
      static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
      static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t{kPhiloxMultipliers[0]} * c[0];
    const uint64_t p1 = uint64_t{kPhiloxMultipliers[1]} * c[2];
    c = {
        static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key_0, static_cast<uint32_t>(p1),
        static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key_1, static_cast<uint32_t>(p0)};
    key_0 += kPhiloxWeyl[0];
    key_1 += kPhiloxWeyl[1];
  }
  return c;
}

}  // namespace caffe2op_mask
