#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// Highway -> HighwayGradient(H, X, Z, d_Y); arguments are copied.
class GetHighwayGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
