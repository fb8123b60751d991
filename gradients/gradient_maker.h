#pragma once

#include <string>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// What all of our gradient makers share.
class GradientMaker : public GradientMakerBase {
 public:
  using GradientMakerBase::GradientMakerBase;

 protected:
  // The name of an input, for the gradient operator to read. Throws where the operator
  // overwrites it: the runtime takes what then stands there for the input.
  std::string I(int i);
};

}  // namespace mask
}  // namespace caffe2
