#pragma once

#include <string>
#include <vector>

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

  // Appends the gradients of outputs Y, which is first, and G or LSE, which may be second, so far
  // as there are any, to the inputs of the gradient operator. Returns the arguments that say which
  // there are, besides the operator's own.
  std::vector<Argument> AddGradientsOfOutputs(std::vector<std::string>* inputs);
};

}  // namespace mask
}  // namespace caffe2
