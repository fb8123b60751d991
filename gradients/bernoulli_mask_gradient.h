#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// BernoulliMask -> BernoulliMaskGradient(Z, mask, d_log_prob).
class GetBernoulliMaskGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
