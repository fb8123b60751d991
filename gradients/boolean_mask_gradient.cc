#include "gradients/boolean_mask_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetBooleanMaskGradient::GetGradientDefs() {
  return SingleGradientDef(
      "BooleanMaskGradient", "", std::vector<std::string>{I(1), GO(0)},
      std::vector<std::string>{GI(0)});
}

}  // namespace mask
}  // namespace caffe2
