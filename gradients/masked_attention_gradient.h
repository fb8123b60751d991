#pragma once

#include <vector>

#include "gradients/gradient_maker.h"

namespace caffe2 {
namespace mask {

// MaskedAttention -> MaskedAttentionGradient, and so MaskedAttentionJagged: to Q, K, V and, where
// there are any, the bias and the sinks, from O, LSE and their gradients; where LSE is not named,
// both are computed again.
class GetMaskedAttentionGradient : public GradientMaker {
  using GradientMaker::GradientMaker;
  std::vector<OperatorDef> GetGradientDefs() override;
};

}  // namespace mask
}  // namespace caffe2
