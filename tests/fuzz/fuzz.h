#pragma once

// A fuzz target runs the checks of a kernel's tests, against their oracles, on what a fuzzer makes
// up: its bytes decide what the tests draw from a seed (Random in tests/cpp/seeded_test.h), so
// sizes, masks, lengths, types, misalignments, what is in place, and who runs which piece. Every
// input runs on every target that the machine has.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/target.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"

namespace caffe2op_mask {

// The fixture of a test, to be run outside of GoogleTest's loop.
template <class Fixture>
class Fuzzed : public Fixture {
 public:
  explicit Fuzzed(const Random& random) { this->random_ = random; }

 protected:
  bool OneIn(uint64_t n) { return this->random_() % n == 0; }

  // Mostly small, now and then around words and chunks, or of no meaning.
  int64_t Count() {
    if (!OneIn(3)) return Uniform(this->random_, 0, 140);
    if (OneIn(3)) return Uniform(this->random_, 0, 3 * 4096);
    const std::vector<int64_t> counts = Counts(this->random_);
    return counts[this->random_() % counts.size()];
  }

  Pattern DrawPattern() {
    const std::vector<Pattern> patterns = Patterns();
    return patterns[this->random_() % patterns.size()];
  }

  size_t Slack() { return OneIn(2) ? 0 : this->random_() % 65; }
};

// Runs check(random) on each target with numbers that the bytes decide, the same each time.
template <class Check>
int Fuzz(const uint8_t* data, size_t size, const Check& check) {
  // A check that fails throws, and what nobody catches ends the process.
  ::testing::GTEST_FLAG(throw_on_failure) = true;
  static const std::vector<const char*> targets = TargetNames();
  for (const char* const target : targets) {
    // Clang's builds have plain loops as well, which take most of the time.
    if (std::strcmp(target, "EMU128") == 0) continue;
    ForceTarget(target);
    ::testing::ScopedTrace trace(__FILE__, __LINE__, target);
    Random random(data, size);
    piece_seed = random();
    check(random);
  }
  return 0;
}

}  // namespace caffe2op_mask
