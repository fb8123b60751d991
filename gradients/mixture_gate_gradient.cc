#include "gradients/mixture_gate_gradient.h"

#include <string>

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetMixtureGateGradient::GetGradientDefs() {
  std::vector<std::string> inputs{I(0), I(1), GO(0)};
  if (def_.output_size() > 1 && GradOut(1).IsDense()) inputs.push_back(GO(1));
  return SingleGradientDef(
      "MixtureGateGradient", "", inputs, std::vector<std::string>{GI(0), GI(1)});
}

}  // namespace mask
}  // namespace caffe2
