#include "kernels/target.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/chunk.h"
#include "tests/cpp/forced_target.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"

namespace caffe2op_mask {
namespace {

class TargetTest : public SeededTest {
 protected:
  // Other tests go on with the target of the command line.
  ~TargetTest() override { ForceTarget(forced_target); }
};

// Told by code that is compiled for the target, so it cannot be another that runs.
TEST_F(TargetTest, RunsTheForcedTarget) {
  if (forced_target != nullptr) {
    EXPECT_STREQ(TargetName(), forced_target);
  }
  const std::vector<const char*> names = TargetNames();
  ASSERT_FALSE(names.empty());
  for (const char* const name : names) {
    ASSERT_TRUE(ForceTarget(name));
    EXPECT_STREQ(TargetName(), name);
  }
  ASSERT_TRUE(ForceTarget(nullptr));
  EXPECT_STREQ(TargetName(), names.front());
}

TEST_F(TargetTest, RefusesAnUnknownTarget) {
  const std::string before = TargetName();
  EXPECT_FALSE(ForceTarget("ABACUS"));
  EXPECT_EQ(TargetName(), before);
}

// What moves bytes and counts has nothing that targets could round otherwise.
TEST_F(TargetTest, TargetsAgreeBitForBit) {
  const Bytes mask = RandomMask(random_, kChunkEntries, {0.3, false});
  const Bytes rows = RandomBytes(random_, kChunkEntries * 8);
  std::vector<Bytes> results;
  for (const char* const name : TargetNames()) {
    ForceTarget(name);
    uint64_t words[kChunkWords];
    const int64_t kept =
        PackChunk(reinterpret_cast<const bool*>(mask.data()), kChunkEntries, words);
    Bytes result(static_cast<size_t>(kept) * 8 + static_cast<size_t>(kChunkEntries) * 8, 0);
    CompressChunk(words, kChunkEntries, 8, rows.data(), result.data());
    SelectChunk(words, kChunkEntries, 8, rows.data(), 5, result.data() + kept * 8);
    results.push_back(result);
  }
  for (const Bytes& result : results) EXPECT_EQ(result, results.front());
}

}  // namespace
}  // namespace caffe2op_mask
