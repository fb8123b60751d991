#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// SequenceMask -> SequenceMask with grad = 1, which fills with zeros: the
// gradient passes where the data did.
class GetSequenceMaskGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
  bool CopyArguments() const override { return false; }
};

}  // namespace mask
}  // namespace caffe2
