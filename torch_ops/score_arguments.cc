#include "torch_ops/score_arguments.h"

namespace caffe2op_mask {
namespace torch_ops {

ScoreArguments::ScoreArguments(const char* op, const ScoreTensors& tensors)
    : op_(op),
      of_rows_{
          Input(op, NameOf(kLengths), tensors.lengths),
          Input(op, NameOf(kCenters), tensors.centers),
          Input(op, NameOf(kLeftPad), tensors.left_pad)},
      mask_(op, "mask", tensors.mask),
      bias_(op, "bias", tensors.bias),
      sinks_(op, "sinks", tensors.sinks) {}

ScoreOptions ScoreArguments::Options(
    const std::string& mode, int64_t radius, int64_t diagonal, int64_t window_left,
    int64_t window_right, std::optional<double> scale, const std::string& empty_row) const {
  ScoreOptions options;
  options.shape = {mode, radius, diagonal, window_left, window_right};
  options.has_mask = mask_.get() != nullptr;
  options.has_bias = bias_.get() != nullptr;
  options.has_sinks = sinks_.get() != nullptr;
  if (scale) options.scale = RealNumber(*scale);
  options.empty_row = empty_row;
  return options;
}

ScoreInputs ScoreArguments::Views(const ScoreContract& contract) const {
  ScoreInputs inputs;
  for (size_t i = 0; i < kRowInputs; ++i) {
    const auto input = static_cast<RowInput>(i);
    const bool is_read = contract.Reads(input);
    Require(
        is_read == (of_rows_[i].get() != nullptr), op_, ": ", NameOf(input),
        is_read ? " must be given, since the mode reads it, but is not."
                : " must not be given, since the mode does not read it.");
    if (is_read) inputs.of_rows[i] = *of_rows_[i];
  }
  inputs.mask = *mask_;
  inputs.bias = *bias_;
  inputs.sinks = *sinks_;
  return inputs;
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
