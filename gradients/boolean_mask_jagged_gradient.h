#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// BooleanMaskJagged -> BooleanMaskGradient(mask, d_masked_values): rows return
// to their places, whatever segment they are of. By engine MASK, whatever is
// preferred: the stock operator of this name knows no rows.
class GetBooleanMaskJaggedGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
  bool CopyEngine() const override { return false; }
};

}  // namespace mask
}  // namespace caffe2
