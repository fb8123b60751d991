#pragma once

// Each operator of ours on tensors that are large enough for threads to share the work.

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "tests/cpp/operators/caffe2_testing.h"

namespace caffe2 {
namespace mask {

// An operator of ours, on blobs of FeedInputs.
struct Case {
  std::string name;
  OperatorDef def;
};

inline void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

constexpr int64_t kRows = 1024;
constexpr int64_t kColumns = 512;

// Numbers of about 1, without two neighbours alike.
inline std::vector<float> Wave(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * i % 61) / 30 - 1;
  }
  return values;
}

// Large enough that threads share the work.
inline void FeedInputs(Workspace* ws) {
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
  Feed<float>(ws, "sinks", {2}, Wave(2));
  Feed<float>(ws, "d_o", {2, 2, 256, 32}, Wave(2 * 2 * 256 * 32));
  Feed<float>(ws, "packed", {1024, 2, 32}, Wave(2 * 1024 * 32));
  Feed<int32_t>(ws, "sequences", {5}, {300, 0, 512, 1, 211});
  Feed<float>(ws, "packed_d", {1024, 2, 32}, Wave(2 * 1024 * 32));
  ASSERT_TRUE(ws->RunOperatorOnce(Op("MaskedSoftmax", {"rows"}, {"softmax"})));
  ASSERT_TRUE(ws->RunOperatorOnce(
      Op("MaskedAttention", {"q", "k", "v", "bias", "sinks"}, {"o", "lse"},
         {Arg("mode", "upper"), Arg<int>("has_bias", 1), Arg<int>("has_sinks", 1)})));
  ASSERT_TRUE(ws->RunOperatorOnce(
      Op("MaskedAttentionJagged", {"packed", "packed", "packed", "sequences", "sinks"},
         {"packed_o", "packed_lse"}, {Arg("mode", "upper"), Arg<int>("has_sinks", 1)})));
}

inline std::vector<Case> Cases() {
  const auto sequence = Arg("mode", "sequence");
  const auto upper = Arg("mode", "upper");
  const auto has_bias = Arg<int>("has_bias", 1);
  const auto has_sinks = Arg<int>("has_sinks", 1);
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
      {"MaskedAttention", Op("MaskedAttention", {"q", "k", "v", "bias", "sinks"}, {"y", "z"},
                             {upper, has_bias, has_sinks})},
      {"MaskedAttentionGradient",
       Op("MaskedAttentionGradient", {"o", "lse", "d_o", "q", "k", "v", "bias", "sinks"},
          {"y", "z", "d_v", "d_bias", "d_sinks"}, {upper, has_bias, has_sinks})},
      {"MaskedAttentionJagged",
       Op("MaskedAttentionJagged", {"packed", "packed", "packed", "sequences", "sinks"}, {"y", "z"},
          {upper, has_sinks})},
      {"MaskedAttentionJaggedGradient", Op("MaskedAttentionJaggedGradient",
                                           {"packed_o", "packed_lse", "packed_d", "packed",
                                            "packed", "packed", "sequences", "sinks"},
                                           {"y", "z", "d_v", "d_sinks"}, {upper, has_sinks})},
      {"Gate", Op("Gate", {"rows", "logit"}, {"y", "z"})},
      {"GateSoftmax", Op("Gate", {"rows", "others"}, {"y"}, {Arg("kind", "softmax")})},
      {"GateRelu", Op("Gate", {"rows", "logit", "threshold"}, {"y"}, {Arg("kind", "relu")})},
      {"GateHardConcrete",
       Op("Gate", {"rows", "logit"}, {"y", "z", "noise"}, {Arg("kind", "hard_concrete")})},
      {"GateGumbelSoftmax", Op("Gate", {"rows", "others"}, {"y", "z", "noise"},
                               {Arg("kind", "gumbel_softmax"), Arg<int>("hard", 1)})},
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
inline std::string Outputs(const Workspace& ws, const OperatorDef& def) {
  std::string bytes;
  for (const std::string& output : def.output()) {
    const Tensor& tensor = Fetch(ws, output);
    bytes.append(static_cast<const char*>(tensor.raw_data()), tensor.nbytes());
  }
  return bytes;
}

inline void Forget(Workspace* ws, const OperatorDef& def) {
  for (const std::string& output : def.output()) {
    if (ws->HasBlob(output)) ws->RemoveBlob(output);
  }
}

}  // namespace mask
}  // namespace caffe2
