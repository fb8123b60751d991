#include "gradients/boolean_mask_jagged_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetBooleanMaskJaggedGradient::GetGradientDefs() {
  return SingleGradientDef(
      "BooleanMaskGradient", "", std::vector<std::string>{I(2), GO(0)},
      std::vector<std::string>{GI(0)});
}

}  // namespace mask
}  // namespace caffe2
