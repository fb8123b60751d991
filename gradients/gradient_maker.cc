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

}  // namespace mask
}  // namespace caffe2
