#pragma once

// BernoulliMask and its gradient: what they take.

#include "contracts/tensor_view.h"

namespace caffe2op_mask {

// Throws unless mask is bool, d_log_prob of Z's type, and both of its sizes.
Real CheckBernoulliMaskGradient(
    const char* op, const TensorView& z, const TensorView& mask, const TensorView& d_log_prob);

}  // namespace caffe2op_mask
