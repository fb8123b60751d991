#include "gradients/highway_gradient.h"

#include <string>

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetHighwayGradient::GetGradientDefs() {
  return SingleGradientDef(
      "HighwayGradient", "", std::vector<std::string>{I(0), I(1), I(2), GO(0)},
      std::vector<std::string>{GI(0), GI(1), GI(2)});
}

}  // namespace mask
}  // namespace caffe2
