// No operator that moves entries by masks asks for more memory than its outputs and one
// word for each chunk of the masks: what it asks for in all is counted where everybody's memory
// comes from.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/chunk.h"
#include "tests/cpp/operators/allocation.h"
#include "tests/cpp/operators/caffe2_testing.h"

namespace caffe2 {
namespace mask {
namespace {

using caffe2op_mask::bytes_asked;

class MemoryTest : public ::testing::Test {
 protected:
  // Many chunks, and no whole number of them. What goes with a chunk is large beside what
  // goes with a run, kAnyway.
  static constexpr int64_t kEntries = 5000 * caffe2op_mask::kChunkEntries + 80;
  static constexpr int64_t kAnyway = 8192;

  static void SetUpTestSuite() {
    ws_ = new Workspace;
    std::vector<bool> keep(kEntries);
    std::vector<bool> rest(kEntries);
    for (size_t i = 0; i < keep.size(); ++i) {
      keep[i] = i * i % 7 < 3;
      rest[i] = !keep[i];
    }
    Feed<bool>(ws_, "mask", {kEntries}, keep);
    Feed<bool>(ws_, "rest", {kEntries}, rest);
    Feed<bool>(ws_, "rows", {kEntries / 80, 80}, keep);
    Feed<bool>(ws_, "row", {1, kEntries}, keep);
    Feed<uint8_t>(ws_, "data", {kEntries}, std::vector<uint8_t>(kEntries, 1));
    Feed<int32_t>(ws_, "ones", {kEntries}, std::vector<int32_t>(kEntries, 1));
    Feed<int64_t>(ws_, "tens", {kEntries / 10}, std::vector<int64_t>(kEntries / 10, 10));
    // Also starts the threads, which have memory of their own.
    for (const char* mask : {"mask", "rest"}) {
      const auto name = [&](const char* of) { return std::string(of) + "_" + mask; };
      ASSERT_TRUE(
          ws_->RunOperatorOnce(Op("BooleanMask", {"data", mask}, {name("kept"), name("indices")})));
    }
  }

  static void TearDownTestSuite() { delete ws_; }

  // Runs for the first time, so that nothing is left from before.
  static void Expect(const OperatorDef& def, int64_t masks) {
    for (const std::string& output : def.output()) {
      if (ws_->HasBlob(output)) ws_->RemoveBlob(output);
    }
    const auto op = CreateOperator(def, ws_);
    const int64_t before = bytes_asked;
    ASSERT_TRUE(op->Run());
    int64_t extra = bytes_asked - before;
    for (const std::string& output : def.output()) {
      extra -= static_cast<int64_t>(Fetch(*ws_, output).nbytes());
    }
    EXPECT_GE(extra, 0) << def.type();
    const int64_t words = masks * caffe2op_mask::NumChunks(kEntries);
    EXPECT_LE(extra, words * int64_t{sizeof(uint64_t)} + kAnyway) << def.type();
  }

  static Workspace* ws_;
};

Workspace* MemoryTest::ws_ = nullptr;

// A test that cannot fail would be none: the count sees both kinds of memory.
TEST_F(MemoryTest, IsCounted) {
  const int64_t before = bytes_asked;
  const std::vector<int64_t> numbers(kEntries);
  EXPECT_GE(bytes_asked - before, 8 * kEntries) << numbers.size();
  const Tensor tensor = caffe2::empty({kEntries}, at::dtype<int64_t>().device(CPU));
  EXPECT_GE(bytes_asked - before, 16 * kEntries);
}

TEST_F(MemoryTest, OfBooleanMask) {
  Expect(Op("BooleanMask", {"data", "mask"}, {"out"}), 1);
  Expect(Op("BooleanMask", {"data", "mask"}, {"out", "where"}), 1);
  Expect(Op("BooleanMask", {"data", "mask"}, {"out"}, {Arg<int>("keep_shape", 1)}), 0);
  Expect(Op("BooleanMaskGradient", {"mask", "kept_mask"}, {"out"}), 1);
  Expect(Op("BooleanMaskGradient", {"mask", "data"}, {"out"}, {Arg<int>("keep_shape", 1)}), 0);
}

TEST_F(MemoryTest, OfBooleanMaskLengths) {
  Expect(Op("BooleanMaskLengths", {"ones", "mask"}, {"out"}), 0);
  Expect(Op("BooleanMaskLengths", {"tens", "mask"}, {"out"}), 0);
  Expect(Op("BooleanMaskLengths", {"rows", "rows"}, {"out"}), 0);
  Expect(Op("BooleanMaskLengths", {"row", "row"}, {"out"}), 0);
}

TEST_F(MemoryTest, OfBooleanMaskJagged) {
  Expect(Op("BooleanMaskJagged", {"data", "ones", "mask"}, {"out", "counts"}), 1);
  Expect(Op("BooleanMaskJagged", {"data", "tens", "mask"}, {"out", "counts"}), 1);
}

TEST_F(MemoryTest, OfBooleanUnmask) {
  const std::vector<std::string> pairs{"mask", "kept_mask", "rest", "kept_rest"};
  Expect(Op("BooleanUnmask", {"mask", "kept_mask"}, {"out"}, {Arg<int>("fill_val", 0)}), 1);
  Expect(Op("BooleanUnmask", pairs, {"out"}), 2);
  std::vector<std::string> inputs(pairs);
  inputs.emplace_back("data");
  Expect(Op("BooleanUnmaskGradient", inputs, {"d_kept", "d_rest"}), 2);
}

TEST_F(MemoryTest, OfSequenceMask) {
  Expect(
      Op("SequenceMask", {"data", "mask"}, {"out"},
         {Arg("mode", "mask"), Arg<int>("fill_val", 0), Arg<int>("axis", 0)}),
      0);
}

}  // namespace
}  // namespace mask
}  // namespace caffe2
