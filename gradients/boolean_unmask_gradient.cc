#include "gradients/boolean_unmask_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetBooleanUnmaskGradient::GetGradientDefs() {
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  for (int i = 0; i + 1 < def_.input_size(); i += 2) {
    inputs.push_back(I(i));
    inputs.push_back(I(i + 1));
    outputs.push_back(GI(i + 1));
  }
  inputs.push_back(GO(0));
  return SingleGradientDef("BooleanUnmaskGradient", "", inputs, outputs);
}

}  // namespace mask
}  // namespace caffe2
