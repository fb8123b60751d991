#pragma once

// The gradient of attention's bias.

#include "kernels/attention_gradient_work.h"

namespace caffe2op_mask {

// dbias: the gradients of the scores that each entry of the bias served, summed in double. The
// shapes alone say in which order.
template <typename W>
void BiasGradient(const GradientInputs<W>& inputs, void* dbias, const Threads& threads);

}  // namespace caffe2op_mask
