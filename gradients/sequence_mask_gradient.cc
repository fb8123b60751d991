#include "gradients/sequence_mask_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetSequenceMaskGradient::GetGradientDefs() {
  std::vector<std::string> inputs{GO(0)};
  for (int i = 1; i < def_.input_size(); ++i) inputs.push_back(I(i));
  std::vector<Argument> arguments;
  for (const Argument& argument : def_.arg()) {
    if (argument.name() != "grad") arguments.push_back(argument);
  }
  arguments.push_back(MakeArgument<bool>("grad", true));
  return SingleGradientDef("SequenceMask", "", inputs, std::vector<std::string>{GI(0)}, arguments);
}

}  // namespace mask
}  // namespace caffe2
