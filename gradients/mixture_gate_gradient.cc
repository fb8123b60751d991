#include "gradients/mixture_gate_gradient.h"

#include <string>

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetMixtureGateGradient::GetGradientDefs() {
  std::vector<std::string> inputs{I(0), I(1)};
  const bool has_bias = def_.input_size() > 2;
  if (has_bias) inputs.push_back(I(2));
  std::vector<Argument> own = AddGradientsOfOutputs(&inputs);
  if (has_bias) own.push_back(MakeArgument<int>("has_bias", 1));
  return SingleGradientDef(
      "MixtureGateGradient", "", inputs, std::vector<std::string>{GI(0), GI(1)}, own);
}

}  // namespace mask
}  // namespace caffe2
