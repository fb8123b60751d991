#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// MixtureGate -> MixtureGateGradient(E, Z [, bias] [, d_Y] [, d_G]); arguments are copied.
class GetMixtureGateGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
