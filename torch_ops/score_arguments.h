#pragma once

// The optional inputs and options that masked_softmax and masked_attention share.

#include <array>
#include <optional>
#include <string>

#include "contracts/scores.h"
#include "torch_ops/tensor.h"

// How their schemas write what both have.
#define SCORE_OPTIONS                                                                       \
  "str mode=\"\", int radius=10, int diagonal=0, int window_left=-1, int window_right=-1, " \
  "float? scale=None, str empty_row=\"zero\""

namespace caffe2op_mask {
namespace torch_ops {

struct ScoreTensors {
  const std::optional<Tensor>& lengths;
  const std::optional<Tensor>& centers;
  const std::optional<Tensor>& left_pad;
  const std::optional<Tensor>& mask;
  const std::optional<Tensor>& bias;
  const std::optional<Tensor>& sinks;
};

// An input is there where it is given; one that the mode does not read may not be.
class ScoreArguments {
 public:
  ScoreArguments(const char* op, const ScoreTensors& tensors);

  // With what the inputs say of them filled in.
  ScoreOptions Options(
      const std::string& mode, int64_t radius, int64_t diagonal, int64_t window_left,
      int64_t window_right, std::optional<double> scale, const std::string& empty_row) const;

  // The views that `contract`, made of the options, asks for.
  ScoreInputs Views(const ScoreContract& contract) const;

  const Input& bias() const { return bias_; }
  const Input& sinks() const { return sinks_; }

 private:
  const char* op_;
  std::array<Input, kRowInputs> of_rows_;
  Input mask_;
  Input bias_;
  Input sinks_;
};

}  // namespace torch_ops
}  // namespace caffe2op_mask
