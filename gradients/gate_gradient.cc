#include "gradients/gate_gradient.h"

#include <string>

#include "contracts/gate.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetGateGradient::GetGradientDefs() {
  const ArgumentHelper arguments(def_);
  const auto kind = arguments.GetSingleArgument<std::string>("kind", "sigmoid");
  std::vector<std::string> inputs;
  std::vector<std::string> gradients;
  for (int i = 0; i < def_.input_size(); ++i) {
    inputs.push_back(I(i));
    gradients.push_back(GI(i));
  }
  const bool draws = caffe2op_mask::MayDrawNoise({kind.data(), kind.size()});
  if (draws && !arguments.GetSingleArgument<bool>("is_test", false)) {
    CAFFE_ENFORCE(
        def_.output_size() == 3, "Gate: with kind = ", kind,
        " a gradient needs the 3 outputs Y, G and noise, but there are ", def_.output_size(), ".");
    inputs.push_back(O(2));
  }
  const std::vector<Argument> own = AddGradientsOfOutputs(&inputs);
  return SingleGradientDef("GateGradient", "", inputs, gradients, own);
}

}  // namespace mask
}  // namespace caffe2
