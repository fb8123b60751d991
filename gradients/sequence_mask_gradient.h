#pragma once

#include <vector>

#include "caffe2/core/operator_gradient.h"

namespace caffe2 {
namespace mask {

// SequenceMask -> SequenceMask with grad = 1, which fills with zeros: the
// gradient passes where the data did.
class GetSequenceMaskGradient : public GradientMakerBase {
  using GradientMakerBase::GradientMakerBase;
  std::vector<OperatorDef> GetGradientDefs() override;
  bool CopyArguments() const override { return false; }
};

}  // namespace mask
}  // namespace caffe2
