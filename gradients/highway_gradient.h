#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// Highway -> HighwayGradient(H, X, Z, d_Y); arguments are copied.
class GetHighwayGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
