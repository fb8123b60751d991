#pragma once

// Checks that the contracts of operators share. `op` is the name of the operator in errors, `name`
// that of the input.

#include "contracts/error.h"
#include "contracts/number.h"
#include "contracts/tensor_view.h"

namespace caffe2op_mask {

// Throws where a tensor of these sizes would have more than 2^63 - 1 bytes.
void CheckOutputSize(const char* op, const char* name, Sizes sizes, const TensorView& of_type);
void CheckOutputSize(const char* op, const char* name, Sizes sizes, ElementType type);

// The data of a bool input; throws where it is of another type.
const bool* MaskData(const char* op, const char* name, const TensorView& mask);

// Throws unless the mask's sizes are the first of the data's.
void CheckLeadingDims(
    const char* op, const char* mask_name, Sizes mask, const char* data_name, Sizes data);

// The type of an input; throws where it is not real.
Real RealType(const char* op, const char* name, const TensorView& tensor);

// True where the input is int32, false where it is int64; throws where it is neither.
bool IsInt32(const char* op, const char* name, const TensorView& tensor);

// Throws unless both are of one type.
void CheckSameType(
    const char* op, const char* name, const TensorView& tensor, const char* other_name,
    const TensorView& other);

// Throws unless both are of one shape and type.
void CheckSame(
    const char* op, const char* name, const TensorView& tensor, const char* other_name,
    const TensorView& other);

// Throws unless `tensor` is of these sizes and this type.
void CheckIs(
    const char* op, const char* name, const TensorView& tensor, Sizes sizes, ElementType type);

// Throws where the value of an argument is beyond the type, or so small that the type has only 0
// for it.
void CheckHolds(const char* op, const char* argument, double value, ElementType type);

}  // namespace caffe2op_mask
