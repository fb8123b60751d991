#include "gradients/boolean_mask_jagged_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetBooleanMaskJaggedGradient::GetGradientDefs() {
  std::vector<OperatorDef> defs = SingleGradientDef(
      "BooleanMaskGradient", "", std::vector<std::string>{I(2), GO(0)},
      std::vector<std::string>{GI(0)});
  defs[0].set_engine("MASK");
  return defs;
}

}  // namespace mask
}  // namespace caffe2
