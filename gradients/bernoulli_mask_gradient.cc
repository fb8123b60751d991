#include "gradients/bernoulli_mask_gradient.h"

#include <string>

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetBernoulliMaskGradient::GetGradientDefs() {
  return SingleGradientDef(
      "BernoulliMaskGradient", "", std::vector<std::string>{I(0), O(0), GO(1)},
      std::vector<std::string>{GI(0)});
}

}  // namespace mask
}  // namespace caffe2
