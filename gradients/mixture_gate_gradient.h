#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// MixtureGate -> MixtureGateGradient(E, Z, d_Y [, d_G]); arguments are copied.
class GetMixtureGateGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
