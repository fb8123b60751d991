#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace caffe2op_mask {

// What a test draws from: the numbers of a seed or, for a fuzzer (tests/fuzz), the bytes that it
// makes up, as far as they go.
class Random {
 public:
  using result_type = uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }

  explicit Random(uint64_t seed) : engine_(seed) {}
  // The first two bytes are the seed of what comes behind all of them.
  Random(const uint8_t* bytes, size_t size) : bytes_(bytes), left_(size) {
    engine_.seed(left_ < 2 ? 1 : (*this)());
  }

  result_type operator()() {
    if (left_ < 2) return engine_();
    const uint64_t number = uint64_t{bytes_[0]} << 8 | bytes_[1];
    bytes_ += 2;
    left_ -= 2;
    // Both its high bits and its low ones may decide.
    return number * 0x0001000100010001;
  }

  // Numbers that take no bytes, for what is many and decides little: the values of elements.
  std::mt19937_64& engine() { return engine_; }

 private:
  const uint8_t* bytes_ = nullptr;
  size_t left_ = 0;
  std::mt19937_64 engine_;
};

// A number of [begin, end].
inline int64_t Uniform(Random& random, int64_t begin, int64_t end) {
  return std::uniform_int_distribution<int64_t>(begin, end)(random);
}

// A test that draws numbers. All come from one seed, which a failure names;
// put into the environment, it draws the same again, and another draws others.
class SeededTest : public ::testing::Test {
 protected:
  Random random_{Seed()};

 private:
  static constexpr const char* kSeedName = "CAFFE2OP_MASK_TEST_SEED";

  static uint64_t Seed() {
    const char* const seed = std::getenv(kSeedName);
    return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
  }

  ::testing::ScopedTrace trace_{
      __FILE__, __LINE__, kSeedName + std::string("=") + std::to_string(Seed())};
};

}  // namespace caffe2op_mask
