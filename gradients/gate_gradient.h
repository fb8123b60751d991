#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// Gate -> GateGradient(X, Z [, threshold] [, noise] [, d_Y] [, d_G]); arguments are
// copied.
class GetGateGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
