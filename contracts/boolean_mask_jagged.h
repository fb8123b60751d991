#pragma once

// BooleanMaskJagged: what it takes, besides lengths (contracts/boolean_mask_lengths.h).

#include "contracts/boolean_mask.h"

namespace caffe2op_mask {

// Throws unless values are numbers or bool and mask has an entry for each of their rows.
RowMask BindBooleanMaskJagged(const char* op, const TensorView& values, const TensorView& mask);

}  // namespace caffe2op_mask
