#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// MaskedSoftmax -> MaskedSoftmaxGradient, to X and, where there is one, the bias.
class GetMaskedSoftmaxGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
