#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// Gate -> GateGradient(X, Z [, threshold] [, noise], d_Y [, d_G]); arguments are
// copied.
class GetGateGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
