#include "gradients/masked_softmax_gradient.h"

#include <string>

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetMaskedSoftmaxGradient::GetGradientDefs() {
  const ArgumentHelper arguments(def_);
  std::vector<std::string> inputs{O(0)};
  std::vector<Argument> added = AddGradientsOfOutputs(&inputs);
  if (def_.output_size() > 1 && !GradOut(1).IsEmpty()) {
    added.push_back(MakeArgument<int>("has_d_lse", 1));
  }
  if (arguments.GetSingleArgument<std::string>("empty_row", "zero") != "zero") {
    inputs.push_back(I(0));
  }
  for (int i = 1; i < def_.input_size(); ++i) inputs.push_back(I(i));
  std::vector<std::string> outputs{GI(0)};
  if (arguments.GetSingleArgument<bool>("has_bias", false)) {
    outputs.push_back(GI(def_.input_size() - 1));
  }
  return SingleGradientDef("MaskedSoftmaxGradient", "", inputs, outputs, added);
}

}  // namespace mask
}  // namespace caffe2
