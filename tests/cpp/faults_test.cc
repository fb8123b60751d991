// What may go wrong around an operator, and must not break more than the run that it breaks: memory
// that cannot be had, inputs that are wrong, other nets at the same time.

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caffe2/core/net.h"
#include "tests/cpp/allocation.h"
#include "tests/cpp/caffe2_testing.h"

namespace caffe2 {
namespace mask {
namespace {

using caffe2op_mask::FailingAllocation;

// An operator of ours, on blobs of FeedInputs.
struct Case {
  std::string name;
  OperatorDef def;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

constexpr int64_t kRows = 1024;
constexpr int64_t kColumns = 512;

// Numbers of about 1, without two neighbours alike.
std::vector<float> Wave(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * i % 61) / 30 - 1;
  }
  return values;
}

// Large enough that threads share the work.
void FeedInputs(Workspace* ws) {
  constexpr int64_t kEntries = kRows * kColumns;
  std::vector<bool> keep(kEntries);
  std::vector<bool> rest(kEntries);
  for (size_t i = 0; i < keep.size(); ++i) {
    keep[i] = i * i % 7 < 3;
    rest[i] = !keep[i];
  }
  const auto kept = static_cast<int64_t>(std::count(keep.begin(), keep.end(), true));
  Feed<bool>(ws, "mask", {kEntries}, keep);
  Feed<bool>(ws, "rest", {kEntries}, rest);
  Feed<bool>(ws, "rows_mask", {kRows, kColumns}, keep);
  Feed<float>(ws, "flat", {kEntries}, Wave(kEntries));
  Feed<float>(ws, "rows", {kRows, kColumns}, Wave(kEntries));
  Feed<float>(ws, "others", {kRows, kColumns}, Wave(kEntries));
  Feed<float>(ws, "logit", {kRows, 1}, Wave(kRows));
  Feed<float>(ws, "threshold", {}, {0.1F});
  Feed<float>(ws, "kept", {kept}, Wave(kept));
  Feed<float>(ws, "left", {kEntries - kept}, Wave(kEntries - kept));
  Feed<int32_t>(ws, "lengths", {kRows}, std::vector<int32_t>(kRows, 100));
  Feed<int64_t>(ws, "segments", {kRows}, std::vector<int64_t>(kRows, kColumns));
  Feed<float>(ws, "experts", {kRows, 8, 64}, Wave(kEntries));
  Feed<float>(ws, "weights", {kRows, 8}, Wave(kRows * 8));
  Feed<float>(ws, "mixed_d", {kRows, 64}, Wave(kRows * 64));
  Feed<float>(ws, "q", {2, 2, 256, 32}, Wave(2 * 2 * 256 * 32));
  Feed<float>(ws, "k", {2, 2, 256, 32}, Wave(2 * 2 * 256 * 32));
  Feed<float>(ws, "v", {2, 2, 256, 32}, Wave(2 * 2 * 256 * 32));
  Feed<float>(ws, "bias", {1, 2, 1, 256}, Wave(2 * 256));
  Feed<float>(ws, "d_o", {2, 2, 256, 32}, Wave(2 * 2 * 256 * 32));
  ASSERT_TRUE(ws->RunOperatorOnce(Op("MaskedSoftmax", {"rows"}, {"softmax"})));
  ASSERT_TRUE(ws->RunOperatorOnce(
      Op("MaskedAttention", {"q", "k", "v", "bias"}, {"o", "lse"},
         {Arg("mode", "upper"), Arg<int>("has_bias", 1)})));
}

std::vector<Case> Cases() {
  const auto sequence = Arg("mode", "sequence");
  const auto upper = Arg("mode", "upper");
  const auto has_bias = Arg<int>("has_bias", 1);
  DeviceOption seeded;
  seeded.set_random_seed(3);
  std::vector<Case> cases{
      {"BooleanMask", Op("BooleanMask", {"flat", "mask"}, {"y", "indices"})},
      {"BooleanMaskOfRows", Op("BooleanMask", {"rows", "rows_mask"}, {"y"})},
      {"BooleanMaskKeepShape",
       Op("BooleanMask", {"rows", "rows_mask"}, {"y"}, {Arg<int>("keep_shape", 1)})},
      {"BooleanMaskGradient", Op("BooleanMaskGradient", {"mask", "kept"}, {"y"})},
      {"BooleanMaskLengths", Op("BooleanMaskLengths", {"segments", "mask"}, {"y"})},
      {"BooleanMaskJagged", Op("BooleanMaskJagged", {"flat", "segments", "mask"}, {"y", "z"})},
      {"BooleanUnmask", Op("BooleanUnmask", {"mask", "kept", "rest", "left"}, {"y"})},
      {"BooleanUnmaskGradient",
       Op("BooleanUnmaskGradient", {"mask", "kept", "rest", "left", "flat"}, {"y", "z"})},
      {"SequenceMask", Op("SequenceMask", {"rows", "lengths"}, {"y"}, {sequence})},
      {"MaskedSoftmax", Op("MaskedSoftmax", {"rows", "lengths"}, {"y"}, {sequence})},
      {"MaskedSoftmaxGradient", Op("MaskedSoftmaxGradient", {"softmax", "others"}, {"y"})},
      {"MaskedAttention",
       Op("MaskedAttention", {"q", "k", "v", "bias"}, {"y", "z"}, {upper, has_bias})},
      {"MaskedAttentionGradient",
       Op("MaskedAttentionGradient", {"o", "lse", "d_o", "q", "k", "v", "bias"},
          {"y", "z", "d_v", "d_bias"}, {upper, has_bias})},
      {"Gate", Op("Gate", {"rows", "logit"}, {"y", "z"})},
      {"GateSoftmax", Op("Gate", {"rows", "others"}, {"y"}, {Arg("kind", "softmax")})},
      {"GateRelu", Op("Gate", {"rows", "logit", "threshold"}, {"y"}, {Arg("kind", "relu")})},
      {"GateHardConcrete",
       Op("Gate", {"rows", "logit"}, {"y", "z", "noise"}, {Arg("kind", "hard_concrete")})},
      {"GateGradient", Op("GateGradient", {"rows", "logit", "others"}, {"y", "z"})},
      {"Highway", Op("Highway", {"rows", "others", "logit"}, {"y"})},
      {"HighwayGradient",
       Op("HighwayGradient", {"rows", "others", "logit", "rows"}, {"y", "z", "d_z"})},
      {"MixtureGate",
       Op("MixtureGate", {"experts", "weights"}, {"y", "z"}, {Arg<int>("top_k", 2)})},
      {"MixtureGateGradient",
       Op("MixtureGateGradient", {"experts", "weights", "mixed_d"}, {"y", "z"})},
      {"BernoulliMask", Op("BernoulliMask", {"rows"}, {"y", "z"})},
      {"RandomMask", Op("RandomMask", {"rows"}, {"y"}, {Arg("unit", "span")})},
  };
  for (Case& c : cases) {
    c.def.set_engine("MASK");
    *c.def.mutable_device_option() = seeded;
  }
  return cases;
}

// Bytes of all outputs, one after the other.
std::string Outputs(const Workspace& ws, const OperatorDef& def) {
  std::string bytes;
  for (const std::string& output : def.output()) {
    const Tensor& tensor = Fetch(ws, output);
    bytes.append(static_cast<const char*>(tensor.raw_data()), tensor.nbytes());
  }
  return bytes;
}

void Forget(Workspace* ws, const OperatorDef& def) {
  for (const std::string& output : def.output()) {
    if (ws->HasBlob(output)) ws->RemoveBlob(output);
  }
}

class FaultsTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { FeedInputs(&ws_); }

  // What a new operator gives on its first run.
  std::string Run(Workspace* ws) {
    EXPECT_TRUE(ws->RunOperatorOnce(GetParam().def));
    return Outputs(*ws, GetParam().def);
  }

  // Runs a new operator once for each allocation of its first run, which fails; then again, which
  // must give what is expected. Returns how many allocations there were.
  int64_t FailEachAllocation(const std::string& expected) {
    const OperatorDef& def = GetParam().def;
    const bool random = def.type() == "BernoulliMask" || def.type() == "RandomMask" ||
                        GetParam().name == "GateHardConcrete";
    for (int64_t before = 0;; ++before) {
      Forget(&ws_, def);
      const auto op = CreateOperator(def, &ws_);
      bool happened = false;
      {
        const FailingAllocation failing(before);
        try {
          // The runtime asks for some in vain without harm, where it would only note something.
          op->Run();
        } catch (const std::exception&) {
        }
        happened = failing.happened();
      }
      if (!happened) return before;
      EXPECT_TRUE(op->Run()) << "after allocation " << before << " failed";
      const std::string found = Outputs(ws_, def);
      EXPECT_EQ(found.size(), expected.size());
      // A random mask is another one on the second run.
      EXPECT_TRUE(random || found == expected) << "after allocation " << before << " failed";
    }
  }

  Workspace ws_;
};

// Each of the allocations of a first run fails once: its outputs', its scratch and those of its
// tasks. The run ends with an error, nothing is lost, and the next is right.
TEST_P(FaultsTest, MemoryThatCannotBeHad) {
  if (!caffe2op_mask::kAllocationsSeen) GTEST_SKIP() << "a sanitizer has the allocator";
  const std::string expected = Run(&ws_);
  EXPECT_GT(FailEachAllocation(expected), 0);
  const size_t in_use = mallinfo2().uordblks;
  FailEachAllocation(expected);
  EXPECT_LE(mallinfo2().uordblks, in_use + 4096);
}

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
  const size_t in_use = mallinfo2().uordblks;
  for (int64_t run = 0; run < runs; ++run) ASSERT_TRUE(ws.RunNet("small"));
  EXPECT_LE(mallinfo2().uordblks, in_use + 4096);
}

}  // namespace
}  // namespace mask
}  // namespace caffe2
