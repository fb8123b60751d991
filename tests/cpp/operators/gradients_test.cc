// Gradients as a training net gets them: a gradient maker writes operators, and
// these run.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "caffe2/core/operator_gradient.h"
#include "tests/cpp/operators/caffe2_testing.h"

namespace caffe2 {
namespace mask {
namespace {

class GradientTest : public ::testing::Test {
 protected:
  // Makes the gradient of `def` from that of its first output and runs it.
  // Returns the names of the gradients of its inputs; "" where there is none.
  std::vector<std::string> RunGradient(const OperatorDef& def) {
    std::vector<GradientWrapper> outputs(static_cast<size_t>(def.output_size()));
    outputs[0].dense_ = "d_output";
    const GradientOpsMeta meta = GetGradientForOp(def, outputs);
    EXPECT_EQ(meta.ops_.size(), 1U);
    for (const OperatorDef& op : meta.ops_) {
      EXPECT_TRUE(op.is_gradient_op());
      // The stock operator of this name knows no rows, which jagged values may be.
      const bool jagged = def.type() == "BooleanMaskJagged";
      EXPECT_EQ(op.engine(), jagged ? "MASK" : def.engine());
      EXPECT_TRUE(ws_.RunOperatorOnce(op));
    }
    std::vector<std::string> names;
    for (const GradientWrapper& gradient : meta.g_input_) names.push_back(gradient.dense_);
    return names;
  }

  Workspace ws_;
};

using Names = std::vector<std::string>;

TEST_F(GradientTest, BooleanMask) {
  Feed<bool>(&ws_, "mask", {3}, {true, false, true});
  Feed<float>(&ws_, "d_output", {2, 2}, {1, 2, 3, 4});
  const OperatorDef def = Op("BooleanMask", {"data", "mask"}, {"masked", "indices"});
  EXPECT_EQ(RunGradient(def), (Names{"data_grad", ""}));
  ExpectBlob<float>(ws_, "data_grad", {3, 2}, {1, 2, 0, 0, 3, 4});
}

TEST_F(GradientTest, BooleanMaskOfManyDims) {
  Feed<bool>(&ws_, "mask", {2, 2}, {true, false, false, true});
  Feed<at::BFloat16>(&ws_, "d_output", {2, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
  RunGradient(Op("BooleanMask", {"data", "mask"}, {"masked"}));
  ExpectBlob<at::BFloat16>(
      ws_, "data_grad", {2, 2, 2}, {1.0F, 2.0F, 0.0F, 0.0F, 0.0F, 0.0F, 3.0F, 4.0F});
}

TEST_F(GradientTest, BooleanMaskKeepingShape) {
  Feed<bool>(&ws_, "mask", {2}, {false, true});
  Feed<at::Half>(&ws_, "d_output", {2, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
  RunGradient(
      Op("BooleanMask", {"data", "mask"}, {"masked"},
         {Arg<int>("keep_shape", 1), Arg<float>("fill_val", 5)}));
  ExpectBlob<at::Half>(ws_, "data_grad", {2, 2}, {0.0F, 0.0F, 3.0F, 4.0F});
}

TEST_F(GradientTest, BooleanMaskJagged) {
  Feed<bool>(&ws_, "mask", {4}, {false, true, true, false});
  Feed<double>(&ws_, "d_output", {2}, {1, 2});
  const OperatorDef def = Op("BooleanMaskJagged", {"values", "lengths", "mask"}, {"out", "counts"});
  EXPECT_EQ(RunGradient(def), (Names{"values_grad", "", ""}));
  ExpectBlob<double>(ws_, "values_grad", {4}, {0, 1, 2, 0});
}

TEST_F(GradientTest, BooleanUnmask) {
  Feed<bool>(&ws_, "m1", {5}, {true, false, true, false, false});
  Feed<float>(&ws_, "v1", {2}, {0, 0});
  Feed<bool>(&ws_, "m2", {5}, {true, true, false, false, false});  // shadowed at 0
  Feed<float>(&ws_, "v2", {1}, {0});
  Feed<bool>(&ws_, "m3", {5}, {true, true, true, true, false});
  Feed<float>(&ws_, "v3", {5}, {0, 0, 0, 0, 0});  // dense
  Feed<float>(&ws_, "d_output", {5}, {1, 2, 3, 4, 5});
  const OperatorDef def = Op(
      "BooleanUnmask", {"m1", "v1", "m2", "v2", "m3", "v3"}, {"data"}, {Arg<float>("fill_val", 0)});
  EXPECT_EQ(RunGradient(def), (Names{"", "v1_grad", "", "v2_grad", "", "v3_grad"}));
  ExpectBlob<float>(ws_, "v1_grad", {2}, {1, 3});
  ExpectBlob<float>(ws_, "v2_grad", {1}, {2});
  ExpectBlob<float>(ws_, "v3_grad", {5}, {0, 0, 0, 4, 0});
}

TEST_F(GradientTest, BooleanUnmaskByLayout) {
  // Compact rows that could pass for dense ones.
  Feed<bool>(&ws_, "mask", {2, 2}, {true, false, true, false});
  Feed<float>(&ws_, "values", {2, 2}, {1, 2, 3, 4});
  Feed<float>(&ws_, "d_output", {2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8});
  RunGradient(
      Op("BooleanUnmask", {"mask", "values"}, {"data"},
         {Arg<float>("fill_val", 0), Arg("layout", "compact")}));
  ExpectBlob<float>(ws_, "values_grad", {2, 2}, {1, 2, 5, 6});
}

TEST_F(GradientTest, SequenceMask) {
  Feed<int32_t>(&ws_, "index", {2}, {2, 0});
  Feed<float>(&ws_, "d_output", {2, 3}, {1, 2, 3, 4, 5, 6});
  const struct {
    const char* mode;
    std::vector<float> expected;
  } cases[] = {
      {"sequence", {1, 2, 0, 0, 0, 0}},       {"window", {0, 2, 3, 4, 5, 0}},
      {"left_pad", {0, 0, 3, 4, 5, 6}},       {"left_pad+upper", {0, 0, 0, 4, 5, 0}},
      {"upper", {1, 0, 0, 4, 5, 0}},          {"lower", {1, 2, 3, 0, 5, 6}},
      {"upperdiag", {0, 0, 0, 4, 0, 0}},      {"lowerdiag", {0, 2, 3, 0, 0, 6}},
      {"sequence+lower", {1, 2, 0, 0, 0, 0}},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.mode);
    for (const char* output : {"output", "data"}) {  // the second in place
      const OperatorDef def =
          Op("SequenceMask", {"data", "index"}, {output},
             {Arg("mode", one.mode), Arg<int>("radius", 1), Arg<float>("fill_val", -1e9F)});
      EXPECT_EQ(RunGradient(def), (Names{"data_grad", ""}));
      ExpectBlob<float>(ws_, "data_grad", {2, 3}, one.expected);
    }
  }
}

TEST_F(GradientTest, SequenceMaskByMask) {
  Feed<bool>(&ws_, "mask", {1, 3}, {true, false, true});
  Feed<at::BFloat16>(&ws_, "d_output", {1, 3}, {1.0F, 2.0F, 3.0F});
  RunGradient(Op(
      "SequenceMask", {"data", "mask"}, {"out"}, {Arg("mode", "mask"), Arg<float>("fill_val", 9)}));
  ExpectBlob<at::BFloat16>(ws_, "data_grad", {1, 3}, {1.0F, 0.0F, 3.0F});
}

TEST_F(GradientTest, Gate) {
  Feed<at::BFloat16>(&ws_, "X", {2, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
  Feed<at::BFloat16>(&ws_, "Z", {2, 1}, {3.0F, 1.0F});
  Feed<at::BFloat16>(&ws_, "threshold", {1}, {2.0F});
  Feed<at::BFloat16>(&ws_, "d_output", {2, 2}, {1.0F, 1.0F, 1.0F, 1.0F});
  const OperatorDef def = Op("Gate", {"X", "Z", "threshold"}, {"Y"}, {Arg("kind", "relu")});
  EXPECT_EQ(RunGradient(def), (Names{"X_grad", "Z_grad", "threshold_grad"}));
  ExpectBlob<at::BFloat16>(ws_, "X_grad", {2, 2}, {1.0F, 1.0F, 0.0F, 0.0F});
  ExpectBlob<at::BFloat16>(ws_, "Z_grad", {2, 1}, {3.0F, 0.0F});
  ExpectBlob<at::BFloat16>(ws_, "threshold_grad", {1}, {-3.0F});
}

TEST_F(GradientTest, Highway) {
  Feed<at::Half>(&ws_, "H", {2}, {1.0F, 2.0F});
  Feed<at::Half>(&ws_, "X", {2}, {3.0F, 6.0F});
  Feed<at::Half>(&ws_, "Z", {1}, {0.0F});
  Feed<at::Half>(&ws_, "d_output", {2}, {2.0F, 4.0F});
  EXPECT_EQ(
      RunGradient(Op("Highway", {"H", "X", "Z"}, {"Y"})), (Names{"H_grad", "X_grad", "Z_grad"}));
  ExpectBlob<at::Half>(ws_, "H_grad", {2}, {1.0F, 2.0F});
  ExpectBlob<at::Half>(ws_, "X_grad", {2}, {1.0F, 2.0F});
  ExpectBlob<at::Half>(ws_, "Z_grad", {1}, {-5.0F});
}

TEST_F(GradientTest, MixtureGate) {
  Feed<at::BFloat16>(&ws_, "E", {1, 2, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
  Feed<at::BFloat16>(&ws_, "Z", {1, 2}, {0.0F, 0.0F});
  Feed<at::BFloat16>(&ws_, "d_output", {1, 2}, {2.0F, 4.0F});
  EXPECT_EQ(RunGradient(Op("MixtureGate", {"E", "Z"}, {"Y"})), (Names{"E_grad", "Z_grad"}));
  ExpectBlob<at::BFloat16>(ws_, "E_grad", {1, 2, 2}, {1.0F, 2.0F, 1.0F, 2.0F});
  ExpectBlob<at::BFloat16>(ws_, "Z_grad", {1, 2}, {-3.0F, 3.0F});
}

// An engine is asked for op by op; their gradients must ask for the same.
TEST_F(GradientTest, KeepsTheEngine) {
  Feed<bool>(&ws_, "mask", {2}, {true, false});
  Feed<float>(&ws_, "d_output", {1}, {3});
  OperatorDef def = Op("BooleanMask", {"data", "mask"}, {"masked"});
  def.set_engine("MASK");
  RunGradient(def);
  ExpectBlob<float>(ws_, "data_grad", {2}, {3, 0});
}

// The library has a protobuf of its own, but must take an empty string for the
// runtime's. Were it not so, setting a field of a message that the runtime made
// would write into the string that all messages share.
TEST_F(GradientTest, LeavesDefaultInstancesEmpty) {
  Feed<bool>(&ws_, "mask", {1}, {true});
  Feed<float>(&ws_, "values", {1}, {1});
  Feed<float>(&ws_, "d_output", {1}, {1});
  Feed<int32_t>(&ws_, "index", {1}, {1});
  RunGradient(Op("BooleanMask", {"values", "mask"}, {"a"}));
  RunGradient(Op("BooleanMaskJagged", {"values", "index", "mask"}, {"b", "c"}));
  RunGradient(Op("BooleanUnmask", {"mask", "values"}, {"d"}));
  Feed<float>(&ws_, "d_output", {1, 1}, {1});
  RunGradient(Op("SequenceMask", {"data", "index"}, {"e"}, {Arg("mode", "sequence")}));

  const OperatorDef& op = OperatorDef::default_instance();
  EXPECT_EQ(op.name(), "");
  EXPECT_EQ(op.type(), "");
  EXPECT_EQ(op.engine(), "");
  EXPECT_EQ(op.debug_info(), "");
  EXPECT_EQ(op.domain(), "");
  EXPECT_EQ(op.input_size() + op.output_size() + op.arg_size(), 0);
  EXPECT_FALSE(op.is_gradient_op());
  const Argument& argument = Argument::default_instance();
  EXPECT_EQ(argument.name(), "");
  EXPECT_EQ(argument.s(), "");
  EXPECT_FALSE(argument.has_i() || argument.has_f());
  EXPECT_EQ(NetDef::default_instance().name(), "");
  EXPECT_EQ(DeviceOption::default_instance().node_name(), "");
  EXPECT_EQ(TensorShape::default_instance().dims_size(), 0);
  // Caffe2's where it hides its protobuf, and else protobuf's.
  using namespace google::protobuf::internal;  // NOLINT(google-build-using-namespace)
  EXPECT_EQ(GetEmptyStringAlreadyInited(), "");
  // As are those that others make.
  EXPECT_EQ(OperatorDef().type(), "");
  EXPECT_EQ(Argument().name(), "");
}

}  // namespace
}  // namespace mask
}  // namespace caffe2
