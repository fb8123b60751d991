#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// BooleanUnmask -> BooleanUnmaskGradient(mask_1, values_1, .., d_data)
class GetBooleanUnmaskGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
