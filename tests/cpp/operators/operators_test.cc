// Operators as nets run them, for what Python cannot feed or see: bfloat16,
// strings of any bytes, workspaces that go on after an error.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/cpp/operators/caffe2_testing.h"

namespace caffe2 {
namespace mask {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

template <typename T>
class OperatorTypesTest : public ::testing::Test {
 protected:
  // Small numbers as any type has them.
  static std::vector<T> Values(const std::vector<int>& numbers) {
    std::vector<T> values;
    for (const int number : numbers) values.push_back(static_cast<T>(static_cast<float>(number)));
    return values;
  }

  void Feed(const std::string& name, const std::vector<int64_t>& sizes, std::vector<int> numbers) {
    mask::Feed<T>(&ws_, name, sizes, Values(numbers));
  }

  void Expect(
      const std::string& name, const std::vector<int64_t>& sizes, std::vector<int> numbers) {
    ExpectBlob<T>(ws_, name, sizes, Values(numbers));
  }

  Workspace ws_;
};

using ElementTypes = ::testing::Types<
    uint8_t, int8_t, uint16_t, int16_t, int32_t, int64_t, at::Half, at::BFloat16, float, double>;
TYPED_TEST_SUITE(OperatorTypesTest, ElementTypes);

TYPED_TEST(OperatorTypesTest, BooleanMask) {
  this->Feed("data", {3, 2}, {1, 2, 3, 4, 5, 6});
  Feed<bool>(&this->ws_, "mask", {3}, {true, false, true});
  ASSERT_TRUE(
      this->ws_.RunOperatorOnce(Op("BooleanMask", {"data", "mask"}, {"masked", "indices"})));
  this->Expect("masked", {2, 2}, {1, 2, 5, 6});
  ExpectBlob<int64_t>(this->ws_, "indices", {2}, {0, 2});

  Feed<bool>(&this->ws_, "mask", {3, 2}, {false, true, true, false, false, true});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("BooleanMask", {"data", "mask"}, {"masked"})));
  this->Expect("masked", {3}, {2, 3, 6});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(
      Op("BooleanMask", {"data", "mask"}, {"data"},
         {Arg<int>("keep_shape", 1), Arg<float>("fill_val", 7)})));
  this->Expect("data", {3, 2}, {7, 2, 3, 7, 7, 6});
}

TYPED_TEST(OperatorTypesTest, BooleanMaskJagged) {
  this->Feed("values", {6}, {1, 2, 3, 4, 5, 6});
  Feed<int64_t>(&this->ws_, "lengths", {3}, {1, 3, 2});
  Feed<bool>(&this->ws_, "mask", {6}, {false, true, true, false, true, true});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(
      Op("BooleanMaskJagged", {"values", "lengths", "mask"}, {"masked_values", "masked_lengths"})));
  this->Expect("masked_values", {4}, {2, 3, 5, 6});
  ExpectBlob<int64_t>(this->ws_, "masked_lengths", {3}, {0, 2, 2});
}

TYPED_TEST(OperatorTypesTest, BooleanUnmask) {
  Feed<bool>(&this->ws_, "m1", {4}, {true, false, true, false});
  this->Feed("v1", {2}, {1, 3});
  Feed<bool>(&this->ws_, "m2", {4}, {true, true, false, false});
  this->Feed("v2", {4}, {50, 60, 70, 80});  // dense
  ASSERT_TRUE(this->ws_.RunOperatorOnce(
      Op("BooleanUnmask", {"m1", "v1", "m2", "v2"}, {"data"}, {Arg<float>("fill_val", 9)})));
  this->Expect("data", {4}, {1, 60, 3, 9});
}

TYPED_TEST(OperatorTypesTest, SequenceMask) {
  const std::vector<int> ones(6, 1);
  this->Feed("data", {2, 3}, ones);
  Feed<int32_t>(&this->ws_, "index", {2}, {2, 0});
  const struct {
    const char* mode;
    std::vector<int> expected;
  } cases[] = {
      {"sequence", {1, 1, 5, 5, 5, 5}},  {"window", {5, 1, 1, 1, 1, 5}},
      {"left_pad", {5, 5, 1, 1, 1, 1}},  {"upper", {1, 5, 5, 1, 1, 5}},
      {"lower", {1, 1, 1, 5, 1, 1}},     {"upperdiag", {5, 5, 5, 1, 5, 5}},
      {"lowerdiag", {5, 1, 1, 5, 5, 1}},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.mode);
    ASSERT_TRUE(this->ws_.RunOperatorOnce(
        Op("SequenceMask", {"data", "index"}, {"output"},
           {Arg("mode", one.mode), Arg<int>("radius", 1), Arg<float>("fill_val", 5)})));
    this->Expect("output", {2, 3}, one.expected);
  }
  Feed<bool>(&this->ws_, "mask", {1, 3}, {true, false, true});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(
      Op("SequenceMask", {"data", "mask"}, {"data"}, {Arg("mode", "mask")})));
  this->Expect("data", {2, 3}, {1, 0, 1, 1, 0, 1});
}

// Numbers that every real type has, so that results are known to the bit.
template <typename T>
class RealOperatorTypesTest : public OperatorTypesTest<T> {};

using RealTypes = ::testing::Types<at::Half, at::BFloat16, float, double>;
TYPED_TEST_SUITE(RealOperatorTypesTest, RealTypes);

TYPED_TEST(RealOperatorTypesTest, Gate) {
  this->Feed("X", {2, 3}, {1, 2, 3, 4, 5, 6});
  this->Feed("Z", {2, 1}, {1, -1});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("Gate", {"X", "Z"}, {"Y", "G"}, {Arg("kind", "hard")})));
  this->Expect("Y", {2, 3}, {1, 2, 3, 0, 0, 0});
  this->Expect("G", {2, 1}, {1, 0});
  this->Feed("threshold", {}, {-2});
  ASSERT_TRUE(
      this->ws_.RunOperatorOnce(Op("Gate", {"X", "Z", "threshold"}, {"X"}, {Arg("kind", "relu")})));
  this->Expect("X", {2, 3}, {3, 6, 9, 4, 5, 6});
}

TYPED_TEST(RealOperatorTypesTest, Highway) {
  this->Feed("H", {3}, {2, 4, 6});
  this->Feed("X", {3}, {4, 8, 12});
  this->Feed("Z", {3}, {0, 1000, -1000});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("Highway", {"H", "X", "Z"}, {"H"})));
  this->Expect("H", {3}, {3, 4, 12});
}

TYPED_TEST(RealOperatorTypesTest, MixtureGate) {
  this->Feed("E", {1, 2, 2}, {2, 4, 6, 8});
  this->Feed("Z", {1, 2}, {0, 0});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("MixtureGate", {"E", "Z"}, {"Y"})));
  this->Expect("Y", {1, 2}, {4, 6});
  ASSERT_TRUE(
      this->ws_.RunOperatorOnce(Op("MixtureGate", {"E", "Z"}, {"Y"}, {Arg<int>("top_k", 1)})));
  this->Expect("Y", {1, 2}, {1, 2});
}

TYPED_TEST(RealOperatorTypesTest, BernoulliMask) {
  this->Feed("Z", {2}, {1000, -1000});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("BernoulliMask", {"Z"}, {"mask", "log_prob"})));
  ExpectBlob<bool>(this->ws_, "mask", {2}, {true, false});
  this->Expect("log_prob", {2}, {0, 0});
}

TYPED_TEST(OperatorTypesTest, RandomMask) {
  this->Feed("X", {2, 2}, {1, 2, 3, 4});
  ASSERT_TRUE(this->ws_.RunOperatorOnce(Op("RandomMask", {"X"}, {"mask"}, {Arg<float>("p", 1)})));
  ExpectBlob<bool>(this->ws_, "mask", {2, 2}, {false, false, false, false});
}

TEST(SequenceMaskTest, FillsRealsWithMinusInfinityUnlessTold) {
  Workspace ws;
  Feed<at::BFloat16>(&ws, "b", {1, 2}, {1.0F, 2.0F});
  Feed<at::Half>(&ws, "h", {1, 2}, {1.0F, 2.0F});
  Feed<double>(&ws, "d", {1, 2}, {1.0, std::nan("")});
  Feed<int32_t>(&ws, "lengths", {1}, {1});
  for (const char* name : {"b", "h", "d"}) {
    ASSERT_TRUE(ws.RunOperatorOnce(
        Op("SequenceMask", {name, "lengths"}, {name}, {Arg("mode", "sequence")})));
  }
  ExpectBlob<at::BFloat16>(ws, "b", {1, 2}, {1.0F, -kInf});
  ExpectBlob<at::Half>(ws, "h", {1, 2}, {1.0F, -kInf});
  ExpectBlob<double>(ws, "d", {1, 2}, {1.0, -double{kInf}});
}

TEST(SequenceMaskTest, IndicesAtTheLimitsOfInt64) {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  Workspace ws;
  Feed<float>(&ws, "data", {4, 2}, std::vector<float>(8, 1));
  Feed<int64_t>(&ws, "index", {4}, {kMin, -1, 1, kMax});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("SequenceMask", {"data", "index"}, {"sequence"},
         {Arg("mode", "sequence"), Arg<float>("fill_val", 0)})));
  ExpectBlob<float>(ws, "sequence", {4, 2}, {0, 0, 0, 0, 1, 0, 1, 1});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("SequenceMask", {"data", "index"}, {"window"},
         {Arg("mode", "window"), Arg<int64_t>("radius", kMax), Arg<float>("fill_val", 0)})));
  ExpectBlob<float>(ws, "window", {4, 2}, {0, 0, 1, 1, 1, 1, 1, 1});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("SequenceMask", {"data", "index"}, {"left_pad"},
         {Arg("mode", "left_pad"), Arg<float>("fill_val", 0)})));
  ExpectBlob<float>(ws, "left_pad", {4, 2}, {1, 1, 1, 1, 0, 1, 0, 0});
  for (const int64_t diagonal : {kMin, kMax}) {
    ASSERT_TRUE(ws.RunOperatorOnce(
        Op("SequenceMask", {"data"}, {"upper"},
           {Arg("mode", "upper"), Arg<int64_t>("diagonal", diagonal), Arg<float>("fill_val", 0)})));
    ExpectBlob<float>(ws, "upper", {4, 2}, std::vector<float>(8, diagonal < 0 ? 0 : 1));
  }
}

TEST(BooleanMaskTest, Strings) {
  Workspace ws;
  const std::string long_one(100, 'x');
  const std::string zeros("\0a\0", 3);
  Feed<std::string>(&ws, "data", {3, 2}, {"a", zeros, "b", "", long_one, "c"});
  Feed<bool>(&ws, "mask", {3}, {true, false, true});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanMask", {"data", "mask"}, {"masked", "indices"})));
  ExpectBlob<std::string>(ws, "masked", {2, 2}, {"a", zeros, long_one, "c"});
  ExpectBlob<int64_t>(ws, "indices", {2}, {0, 2});
  // The output is used again, and is smaller.
  Feed<bool>(&ws, "mask", {3}, {false, true, false});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanMask", {"data", "mask"}, {"masked"})));
  ExpectBlob<std::string>(ws, "masked", {1, 2}, {"b", ""});
}

TEST(BooleanMaskTest, Bools) {
  Workspace ws;
  Feed<bool>(&ws, "data", {4}, {true, false, true, false});
  Feed<bool>(&ws, "mask", {4}, {true, true, false, false});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanMask", {"data", "mask"}, {"masked"})));
  ExpectBlob<bool>(ws, "masked", {2}, {true, false});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("BooleanMask", {"data", "mask"}, {"same"},
         {Arg<int>("keep_shape", 1), Arg<int>("fill_val", 1)})));
  ExpectBlob<bool>(ws, "same", {4}, {true, false, true, true});
}

// The example of the operator's documentation, and of Caffe2's.
TEST(BooleanUnmaskTest, Test) {
  Workspace ws;
  Feed<bool>(&ws, "mask_1", {5}, {true, false, true, false, false});
  Feed<float>(&ws, "values_1", {2}, {1, 3});
  Feed<bool>(&ws, "mask_2", {5}, {false, true, true, false, false});
  Feed<float>(&ws, "values_2", {1}, {2});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("BooleanUnmask", {"mask_1", "values_1", "mask_2", "values_2"}, {"data"},
         {Arg<float>("fill_val", 0)})));
  ExpectBlob<float>(ws, "data", {5}, {1, 2, 3, 0, 0});

  // Without a fill every position has its mask.
  Feed<bool>(&ws, "mask_1", {5}, {true, false, false, false, false});
  Feed<float>(&ws, "values_1", {1}, {1});
  Feed<bool>(&ws, "mask_2", {5}, {false, true, false, true, false});
  Feed<float>(&ws, "values_2", {2}, {2, 4});
  Feed<bool>(&ws, "mask_3", {5}, {false, false, true, false, true});
  Feed<float>(&ws, "values_3", {2}, {3, 5});
  ASSERT_TRUE(ws.RunOperatorOnce(
      Op("BooleanUnmask", {"mask_1", "values_1", "mask_2", "values_2", "mask_3", "values_3"},
         {"data"})));
  ExpectBlob<float>(ws, "data", {5}, {1, 2, 3, 4, 5});
}

TEST(BooleanUnmaskTest, Strings) {
  Workspace ws;
  Feed<bool>(&ws, "m1", {3}, {true, false, false});
  Feed<std::string>(&ws, "v1", {1, 2}, {"one", "uno"});
  Feed<bool>(&ws, "m2", {3}, {true, true, true});
  Feed<std::string>(&ws, "v2", {2, 2}, {"two", "due", "three", std::string(50, '3')});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanUnmask", {"m1", "v1", "m2", "v2"}, {"data"})));
  ExpectBlob<std::string>(
      ws, "data", {3, 2}, {"one", "uno", "two", "due", "three", std::string(50, '3')});
  // Dense: each position has its own row.
  Feed<std::string>(&ws, "v2", {3, 2}, {"no", "no", "two", "due", "three", "tre"});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanUnmask", {"m1", "v1", "m2", "v2"}, {"data"})));
  ExpectBlob<std::string>(ws, "data", {3, 2}, {"one", "uno", "two", "due", "three", "tre"});
}

TEST(BooleanMaskLengthsTest, SegmentsAndRows) {
  Workspace ws;
  Feed<int64_t>(&ws, "lengths", {3}, {1, 0, 3});
  Feed<bool>(&ws, "mask", {4}, {true, false, true, true});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanMaskLengths", {"lengths", "mask"}, {"counts"})));
  ExpectBlob<int64_t>(ws, "counts", {3}, {1, 0, 2});
  Feed<at::BFloat16>(&ws, "data", {2}, {1.0F, 2.0F});
  Feed<bool>(&ws, "mask", {2, 2}, {true, false, true, true});
  ASSERT_TRUE(ws.RunOperatorOnce(Op("BooleanMaskLengths", {"data", "mask"}, {"counts"})));
  ExpectBlob<int32_t>(ws, "counts", {2}, {1, 2});
}

// A mask comes from anywhere: a byte of it that is not 0 is True.
TEST(MaskBytesTest, AnyByteButZeroIsTrue) {
  Workspace ws;
  Feed<bool>(&ws, "mask", {4}, {true, false, true, false});
  auto* const bytes =
      static_cast<uint8_t*>(BlobGetMutableTensor(ws.GetBlob("mask"), CPU)->raw_mutable_data());
  bytes[0] = 0x80;
  bytes[2] = 0xFE;
  Feed<float>(&ws, "data", {4}, {1, 2, 3, 4});
  Feed<std::string>(&ws, "words", {4}, {"1", "2", "3", "4"});
  Feed<int32_t>(&ws, "lengths", {2}, {1, 3});
  NetDef net;
  *net.add_op() = Op("BooleanMask", {"data", "mask"}, {"masked", "indices"});
  *net.add_op() = Op("BooleanMask", {"words", "mask"}, {"masked_words"});
  *net.add_op() = Op("BooleanMaskLengths", {"lengths", "mask"}, {"counts"});
  *net.add_op() =
      Op("BooleanUnmask", {"mask", "masked"}, {"unmasked"}, {Arg<float>("fill_val", 0)});
  *net.add_op() = Op("SequenceMask", {"data", "mask"}, {"filled"}, {Arg("mode", "mask")});
  ASSERT_TRUE(ws.RunNetOnce(net));
  ExpectBlob<float>(ws, "masked", {2}, {1, 3});
  ExpectBlob<int64_t>(ws, "indices", {2}, {0, 2});
  ExpectBlob<std::string>(ws, "masked_words", {2}, {"1", "3"});
  ExpectBlob<int32_t>(ws, "counts", {2}, {1, 1});
  ExpectBlob<float>(ws, "unmasked", {4}, {1, 0, 3, 0});
  ExpectBlob<float>(ws, "filled", {4}, {1, 0, 3, 0});
}

// A net keeps its operators, and so what they keep from run to run.
TEST(NetTest, RunsAgainWithOtherSizes) {
  Workspace ws;
  NetDef net;
  net.set_name("there_and_back");
  *net.add_op() = Op("BooleanMask", {"data", "mask"}, {"kept"});
  *net.add_op() = Op("BooleanMask", {"data", "not_mask"}, {"rest"});
  *net.add_op() = Op("BooleanUnmask", {"mask", "kept", "not_mask", "rest"}, {"again"});
  Feed<float>(&ws, "data", {0}, {});
  Feed<bool>(&ws, "mask", {0}, {});
  Feed<bool>(&ws, "not_mask", {0}, {});
  ASSERT_NE(ws.CreateNet(net), nullptr);
  for (const int64_t size : {5000, 3, 0, 20000, 4096}) {
    std::vector<float> data;
    std::vector<bool> mask;
    std::vector<bool> not_mask;
    for (int64_t i = 0; i < size; ++i) {
      data.push_back(static_cast<float>(i));
      mask.push_back(i * i % 7 < 3);
      not_mask.push_back(!mask.back());
    }
    Feed<float>(&ws, "data", {size}, data);
    Feed<bool>(&ws, "mask", {size}, mask);
    Feed<bool>(&ws, "not_mask", {size}, not_mask);
    ASSERT_TRUE(ws.RunNet("there_and_back"));
    ExpectBlob<float>(ws, "again", {size}, data);
  }
}

class ErrorTest : public ::testing::Test {
 protected:
  ErrorTest() {
    Feed<float>(&ws_, "data", {2, 3}, {1, 2, 3, 4, 5, 6});
    Feed<int32_t>(&ws_, "whole", {2}, {1, 2});
    Feed<bool>(&ws_, "mask_2", {2}, {true, false});
    Feed<bool>(&ws_, "mask_3", {3}, {true, false, true});
    Feed<int32_t>(&ws_, "lengths", {2}, {1, 2});
    Feed<int64_t>(&ws_, "huge", {2}, {std::numeric_limits<int64_t>::max(), 1});
    Feed<int64_t>(&ws_, "negative", {2}, {4, -1});
  }

  // The operator fails with these words, and then the next net runs.
  void ExpectError(const OperatorDef& def, const std::string& words) {
    SCOPED_TRACE(words);
    std::string message = "no error";
    try {
      ws_.RunOperatorOnce(def);
    } catch (const std::exception& error) {
      message = error.what();
    }
    EXPECT_NE(message.find(words), std::string::npos) << message;
    NetDef net;
    *net.add_op() = Op("BooleanMask", {"data", "mask_2"}, {"masked"});
    ASSERT_TRUE(ws_.RunNetOnce(net));
    ExpectBlob<float>(ws_, "masked", {1, 3}, {1, 2, 3});
  }

  Workspace ws_;
};

TEST_F(ErrorTest, OfShapes) {
  ExpectError(
      Op("BooleanMask", {"data", "mask_3"}, {"out"}),
      "BooleanMask: mask must have at least one dim and the leading dims of data, but mask is of "
      "shape [3] and data of shape [2, 3].");
  ExpectError(
      Op("BooleanUnmask", {"mask_2", "data", "mask_3", "data"}, {"out"}),
      "mask_1 is of shape [2] and mask_2 of shape [3].");
  ExpectError(
      Op("SequenceMask", {"data", "mask_3"}, {"out"}, {Arg("mode", "mask")}),
      "mask is of shape [3] and data of shape [2, 3].");
  Feed<int32_t>(&ws_, "lengths_3", {3}, {1, 1, 1});
  ExpectError(
      Op("SequenceMask", {"data", "lengths_3"}, {"out"}, {Arg("mode", "sequence")}),
      "lengths must have one entry for each of the 2 rows of data");
}

TEST_F(ErrorTest, OfTypes) {
  ExpectError(
      Op("BooleanMask", {"data", "lengths"}, {"out"}),
      "BooleanMask: mask must be of type bool, but is int32.");
  ExpectError(
      Op("SequenceMask", {"data", "whole"}, {"out"}, {Arg("mode", "mask")}),
      "SequenceMask: mask must be of type bool, but is int32.");
  Feed<float>(&ws_, "real", {2}, {1, 2});
  ExpectError(
      Op("BooleanMaskLengths", {"real", "mask_3"}, {"out"}),
      "BooleanMaskLengths: lengths must be of type int32 or int64, but is float32.");
  ExpectError(
      Op("BooleanUnmask", {"mask_2", "real", "mask_2", "whole"}, {"out"}),
      "values_1 is of type float32 and values_2 of type int32.");
}

TEST_F(ErrorTest, OfLengths) {
  ExpectError(
      Op("BooleanMaskLengths", {"lengths", "mask_2"}, {"out"}),
      "lengths must add up to the 2 entries of mask, but add up to 3.");
  ExpectError(
      Op("BooleanMaskLengths", {"negative", "mask_3"}, {"out"}),
      "lengths must not be negative, but lengths[1] is -1.");
  ExpectError(
      Op("BooleanMaskLengths", {"huge", "mask_3"}, {"out"}),
      "lengths must add up to the 3 entries of mask, but pass 2^63 - 1 at lengths[1].");
  ExpectError(
      Op("BooleanMaskJagged", {"data", "negative", "mask_2"}, {"out", "counts"}),
      "BooleanMaskJagged: lengths must not be negative");
}

TEST_F(ErrorTest, OfOwners) {
  ExpectError(
      Op("BooleanUnmask", {"mask_3", "whole"}, {"out"}), "all masks are False at position 1.");
  Feed<int32_t>(&ws_, "one", {1}, {1});
  ExpectError(
      Op("BooleanUnmask", {"mask_3", "one"}, {"out"}, {Arg<int>("fill_val", 0)}),
      "values_1 must have one row for each of the 2 positions that mask_1 is the first to claim");
}

TEST_F(ErrorTest, OfArguments) {
  ExpectError(
      Op("SequenceMask", {"data"}, {"out"}, {Arg("mode", "diagonal")}), "but is 'diagonal'.");
  ExpectError(
      Op("SequenceMask", {"data"}, {"out"}, {Arg("mode", "upper"), Arg<int>("axis", 2)}),
      "argument axis must be in [-2, 2) for data of shape [2, 3], but is 2.");
  ExpectError(
      Op("SequenceMask", {"whole"}, {"out"}, {Arg("mode", "upper"), Arg<int>("axis", 0)}),
      "argument fill_val is -inf, which data of type int32 cannot hold.");
  ExpectError(
      Op("BooleanMask", {"data", "mask_2"}, {"out"}, {Arg("keep_shape", "yes")}),
      "argument keep_shape must be an integer, but is the string 'yes'.");
  Feed<at::BFloat16>(&ws_, "bfloat", {2}, {1.0F, 2.0F});
  ExpectError(
      Op("BooleanMask", {"whole", "mask_2"}, {"out"},
         {Arg<int>("keep_shape", 1), Arg<float>("fill_val", 0.5F)}),
      "argument fill_val is 0.5, which data of type int32 cannot hold.");
}

TEST_F(ErrorTest, OfBlobsThatHoldNothing) {
  ws_.CreateBlob("nothing");
  for (const char* type : {"BooleanMask", "BooleanMaskLengths", "BooleanUnmask"}) {
    ExpectError(Op(type, {"nothing", "mask_2"}, {"out"}), "nothing");
  }
}

// A tensor that was made larger after it was written has a type and a shape, but no data.
TEST_F(ErrorTest, OfShapesWithoutData) {
  Feed<float>(&ws_, "X", {1}, {1});
  BlobGetMutableTensor(ws_.GetBlob("X"), CPU)->Resize(2, 3);
  ExpectError(
      Op("MaskedSoftmax", {"X"}, {"out"}),
      "MaskedSoftmax: input 0, 'X', is of shape [2, 3], but nothing was written to it.");
}

// Operators are ours by their names, whatever engines anybody prefers. Stock's takes no double.
TEST(EnginePreferenceTest, ChangesNothing) {
  Workspace ws;
  Feed<double>(&ws, "data", {1, 2}, {1, 2});
  const OperatorDef op =
      Op("SequenceMask", {"data"}, {"out"}, {Arg("mode", "upper"), Arg<float>("fill_val", 0)});
  SetEnginePref({{CPU, {{"SequenceMask", {"CUDNN"}}}}}, {{CPU, {"DEFAULT"}}});
  EXPECT_TRUE(ws.RunOperatorOnce(op));
  SetEnginePref({}, {});
  EXPECT_TRUE(ws.RunOperatorOnce(op));
  ExpectBlob<double>(ws, "out", {1, 2}, {1, 0});
}

// Rows so wide that the output's size passes int64, or wraps round to a small
// one, though there is no row and so hardly any input.
TEST_F(ErrorTest, OfSizesBeyondInt64) {
  Feed<float>(&ws_, "wide", {0, (int64_t{1} << 61) + 1}, {});
  for (const int64_t entries : {8, 65}) {
    Feed<bool>(&ws_, "none", {entries}, std::vector<bool>(static_cast<size_t>(entries), false));
    ExpectError(
        Op("BooleanUnmask", {"none", "wide"}, {"out"}, {Arg<int>("fill_val", 0)}),
        "BooleanUnmask: ");
    ExpectError(Op("BooleanMaskGradient", {"none", "wide"}, {"out"}), "BooleanMaskGradient: ");
  }
}

}  // namespace
}  // namespace mask
}  // namespace caffe2
