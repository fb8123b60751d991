#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace caffe2op_mask {

using Random = std::mt19937_64;

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
