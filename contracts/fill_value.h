#pragma once

// What stands where a mask is False.

#include <cstdint>

#include "contracts/number.h"
#include "contracts/tensor_view.h"

namespace caffe2op_mask {

// Argument fill_val as an element of `type`, rounded to the nearest where that is real, as the
// pattern that kernels fill with (kernels/fill.h). Throws where the type does not reach so far, or
// is whole and the number is not. kOther is not a type to fill.
uint64_t FillValue(const char* op, const Number& number, ElementType type);

}  // namespace caffe2op_mask
