// Memory that cannot be had: the run ends with an error, and nothing else does.

#include "tests/cpp/operators/allocation.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/cpp/operators/heap.h"
#include "tests/cpp/operators/operator_cases.h"

namespace caffe2 {
namespace mask {
namespace {

using caffe2op_mask::FailingAllocation;
using caffe2op_mask::HeapInUse;

class AllocationTest : public ::testing::TestWithParam<Case> {
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
                        GetParam().name == "GateHardConcrete" ||
                        GetParam().name == "GateGumbelSoftmax";
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
TEST_P(AllocationTest, MemoryThatCannotBeHad) {
  const std::string expected = Run(&ws_);
  EXPECT_GT(FailEachAllocation(expected), 0);
  const size_t in_use = HeapInUse();
  FailEachAllocation(expected);
  EXPECT_LE(HeapInUse(), in_use + 4096);
}

INSTANTIATE_TEST_SUITE_P(
    Operators, AllocationTest, ::testing::ValuesIn(Cases()),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace mask
}  // namespace caffe2
