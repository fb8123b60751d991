#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

std::string GradientMaker::I(int i) {
  const std::string input = GradientMakerBase::I(i);
  for (int j = 0; j < def_.output_size(); ++j) {
    CAFFE_ENFORCE(
        def_.output(j) != input, def_.type(), ": its gradient reads input ", i, ", so that output ",
        j, " must be another blob in a net that trains, but both are '", input, "'.");
  }
  return input;
}

std::vector<Argument> GradientMaker::AddGradientsOfOutputs(std::vector<std::string>* inputs) {
  const bool has_d_y = !GradOut(0).IsEmpty();
  const bool has_d_second = def_.output_size() > 1 && !GradOut(1).IsEmpty();
  CAFFE_ENFORCE(
      has_d_y || has_d_second, def_.type(),
      ": there must be a gradient of an output, but there is none.");
  if (has_d_y) inputs->push_back(GO(0));
  if (has_d_second) inputs->push_back(GO(1));
  if (has_d_y) return {};
  return {MakeArgument<int>("has_d_y", 0)};
}

}  // namespace mask
}  // namespace caffe2
