// What may go wrong around an operator, and must not break more than the run that it breaks: memory
// that cannot be had, inputs that are wrong, other nets at the same time.

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "caffe2/core/net.h"
#include "tests/cpp/operators/heap.h"
#include "tests/cpp/operators/operator_cases.h"

namespace caffe2 {
namespace mask {
namespace {

class FaultsTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { FeedInputs(&ws_); }

  // What a new operator gives on its first run.
  std::string Run(Workspace* ws) {
    EXPECT_TRUE(ws->RunOperatorOnce(GetParam().def));
    return Outputs(*ws, GetParam().def);
  }

  Workspace ws_;
};

// Several workspaces, each run by a thread of its own, many times.
TEST_P(FaultsTest, ManyThreads) {
  const std::string expected = Run(&ws_);
  std::vector<std::thread> threads;
  std::vector<std::string> found(4);
  for (std::string& result : found) {
    threads.emplace_back([&] {
      Workspace ws;
      FeedInputs(&ws);
      for (int run = 0; run < 3; ++run) result = Run(&ws);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : found) EXPECT_TRUE(result == expected);
}

// A net that runs its operators at the same time, on the same inputs.
TEST_P(FaultsTest, OneNetManyOperators) {
  const std::string expected = Run(&ws_);
  NetDef net;
  net.set_name("many");
  net.set_type("async_scheduling");
  net.set_num_workers(4);
  std::vector<OperatorDef> defs(8, GetParam().def);
  for (size_t i = 0; i < defs.size(); ++i) {
    for (std::string& output : *defs[i].mutable_output()) output += std::to_string(i);
    *net.add_op() = defs[i];
  }
  ASSERT_NE(ws_.CreateNet(net), nullptr);
  ASSERT_TRUE(ws_.RunNet("many"));
  for (const OperatorDef& def : defs) EXPECT_TRUE(Outputs(ws_, def) == expected) << def.output(0);
}

INSTANTIATE_TEST_SUITE_P(
    Operators, FaultsTest, ::testing::ValuesIn(Cases()),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

// An input that is wrong once: the run fails, the net stays, and the next run is right.
TEST(FaultsNetTest, GoesOnAfterAnError) {
  Workspace ws;
  NetDef net;
  net.set_name("net");
  *net.add_op() = Op("BooleanMask", {"data", "mask"}, {"masked"});
  *net.add_op() = Op("MaskedSoftmax", {"masked", "lengths"}, {"y"}, {Arg("mode", "sequence")});
  Feed<float>(&ws, "data", {3, 2}, {1, 1, 2, 2, 3, 3});
  Feed<bool>(&ws, "mask", {3}, {true, false, true});
  Feed<int32_t>(&ws, "lengths", {2}, {1, 2});
  ASSERT_NE(ws.CreateNet(net), nullptr);
  for (int round = 0; round < 3; ++round) {
    Feed<bool>(&ws, "mask", {3}, {true, false, true});
    ASSERT_TRUE(ws.RunNet("net"));
    ExpectBlob<float>(ws, "y", {2, 2}, {1, 0, 0.5, 0.5});
    Feed<bool>(&ws, "mask", {2}, {true, true});
    EXPECT_ANY_THROW(ws.RunNet("net"));
    // One row more than there are lengths.
    Feed<bool>(&ws, "mask", {3}, {true, true, true});
    EXPECT_ANY_THROW(ws.RunNet("net"));
  }
}

// An output that is an input too, where the schema does not allow it.
TEST(FaultsNetTest, AnOutputThatIsAnInput) {
  Workspace ws;
  FeedInputs(&ws);
  const auto bytes = [&](const std::string& name) {
    const Tensor& tensor = Fetch(ws, name);
    return std::string(static_cast<const char*>(tensor.raw_data()), tensor.nbytes());
  };
  int refused = 0;
  for (const Case& c : Cases()) {
    for (int in = 0; in < c.def.input_size(); ++in) {
      for (int out = 0; out < c.def.output_size(); ++out) {
        OperatorDef def = c.def;
        def.set_output(out, def.input(in));
        if (OpSchemaRegistry::Schema(def.type())->Verify(def)) continue;
        const std::string before = bytes(def.input(in));
        EXPECT_ANY_THROW(ws.RunOperatorOnce(def)) << c.name << " " << in << " " << out;
        EXPECT_TRUE(before == bytes(def.input(in))) << c.name << " " << in << " " << out;
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}

// So many runs of small operators leave no more memory in use than a few.
TEST(FaultsNetTest, ManySmallRuns) {
  Workspace ws;
  Feed<float>(&ws, "x", {4, 6}, Wave(24));
  Feed<float>(&ws, "z", {4, 1}, Wave(4));
  Feed<bool>(&ws, "mask", {4, 6}, std::vector<bool>(24, true));
  Feed<int32_t>(&ws, "lengths", {4}, {1, 2, 3, 6});
  Feed<float>(&ws, "q", {1, 1, 3, 4}, Wave(12));
  NetDef net;
  net.set_name("small");
  const auto sequence = Arg("mode", "sequence");
  *net.add_op() = Op("BooleanMask", {"x", "mask"}, {"masked"});
  *net.add_op() = Op("BooleanMaskLengths", {"x", "mask"}, {"counts"});
  *net.add_op() = Op("BooleanUnmask", {"mask", "masked"}, {"back"});
  *net.add_op() = Op("SequenceMask", {"x", "lengths"}, {"padded"}, {sequence});
  *net.add_op() = Op("MaskedSoftmax", {"x", "lengths"}, {"y"}, {sequence});
  *net.add_op() = Op("MaskedAttention", {"q", "q", "q"}, {"o", "lse"});
  *net.add_op() = Op("MaskedAttentionGradient", {"o", "lse", "q", "q", "q", "q"}, {"a", "b", "c"});
  *net.add_op() = Op("Gate", {"x", "z"}, {"gated", "g"});
  *net.add_op() = Op("GateGradient", {"x", "z", "x"}, {"d_x", "d_z"});
  *net.add_op() = Op("BernoulliMask", {"z"}, {"drawn", "log_prob"});
  ASSERT_NE(ws.CreateNet(net), nullptr);
  // MANY_SMALL_RUNS=1000000 runs ten million operators.
  const char* const given = std::getenv("MANY_SMALL_RUNS");
  const int64_t runs = given == nullptr ? 10000 : std::atoll(given);
  for (int run = 0; run < 100; ++run) ASSERT_TRUE(ws.RunNet("small"));
  const size_t in_use = caffe2op_mask::HeapInUse();
  for (int64_t run = 0; run < runs; ++run) ASSERT_TRUE(ws.RunNet("small"));
  EXPECT_LE(caffe2op_mask::HeapInUse(), in_use + 4096);
}

}  // namespace
}  // namespace mask
}  // namespace caffe2
