#pragma once

#include "caffe2/core/operator.h"
#include "kernels/real.h"

namespace caffe2 {
namespace mask {

// The type of a tensor of reals, as kernels are told it; throws where it is another.
caffe2op_mask::Real RealType(const char* op, const char* name, const Tensor& tensor);

// Throws unless both are of one type.
void CheckSameType(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other);

// Throws unless both are of one shape and type.
void CheckSame(
    const char* op, const char* name, const Tensor& tensor, const char* other_name,
    const Tensor& other);

}  // namespace mask
}  // namespace caffe2
