#include "gradients/masked_attention_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetMaskedAttentionGradient::GetGradientDefs() {
  const auto has_gradient = [&](size_t output) {
    return g_output_.size() > output && !g_output_[output].IsEmpty();
  };
  CAFFE_ENFORCE(
      !has_gradient(0) || g_output_[0].IsDense(), def_.type(),
      ": the gradient of O must be dense, but is sparse.");
  std::vector<std::string> inputs;
  std::vector<Argument> arguments;
  if (def_.output_size() == 2) {
    inputs = {O(0), O(1)};
  } else {
    arguments.push_back(MakeArgument<int>("has_outputs", 0));
  }
  if (has_gradient(0)) {
    inputs.push_back(GO(0));
  } else {
    arguments.push_back(MakeArgument<int>("has_d_o", 0));
  }
  if (has_gradient(1)) {
    inputs.push_back(GO(1));
    arguments.push_back(MakeArgument<int>("has_d_lse", 1));
  }
  for (int i = 0; i < def_.input_size(); ++i) inputs.push_back(I(i));
  std::vector<std::string> outputs{GI(0), GI(1), GI(2)};
  // The bias and the sinks are the last inputs, in this order.
  const ArgumentHelper has(def_);
  const bool has_bias = has.GetSingleArgument<bool>("has_bias", false);
  const bool has_sinks = has.GetSingleArgument<bool>("has_sinks", false);
  if (has_bias) outputs.push_back(GI(def_.input_size() - (has_sinks ? 2 : 1)));
  if (has_sinks) outputs.push_back(GI(def_.input_size() - 1));
  // Arguments of the operator are added to these.
  return SingleGradientDef(def_.type() + "Gradient", "", inputs, outputs, arguments);
}

}  // namespace mask
}  // namespace caffe2
