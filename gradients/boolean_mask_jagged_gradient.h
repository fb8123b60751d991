#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// BooleanMaskJagged -> BooleanMaskGradient(mask, d_masked_values): rows return
// to their places, whatever segment they are of.
class GetBooleanMaskJaggedGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
