#pragma once

// Words and checks that every operator's errors share. Names come as const char*:
// a std::string made at each run would cost more than the check.

#include <string>

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// "[2, 3]"
std::string ShapeName(at::IntArrayRef sizes);

// NumPy's name of an element type: "float32", "bool", "bfloat16", "string".
std::string TypeName(TypeMeta type);

// Product of sizes[begin, end), or the greatest int64 where that is less.
int64_t Product(at::IntArrayRef sizes, int64_t begin, int64_t end);

// Throws where a tensor of these sizes would have more than 2^63 - 1 bytes.
void CheckOutputSize(const char* op, const char* name, at::IntArrayRef sizes, TypeMeta type);

// Bytes of a row of `row` elements; 0 where there is none of it, as a row of a
// tensor without entries may be of any size.
int64_t RowBytes(int64_t rows, int64_t row, TypeMeta type);

// True where elements are plain bytes: moved by memcpy, zero when all bits are.
bool IsPlain(TypeMeta type);

// The definition, which throws where one blob is named for two outputs: what is written to
// the first would be lost, and its memory may be gone by then.
const OperatorDef& WithDistinctOutputs(const OperatorDef& def);

// The data of a bool input; throws where it is of another type.
const bool* MaskData(const char* op, const char* name, const Tensor& mask);

// Throws unless the mask's sizes are the first of the data's.
void CheckLeadingDims(
    const char* op, const char* mask_name, at::IntArrayRef mask, const char* data_name,
    at::IntArrayRef data);

}  // namespace mask
}  // namespace caffe2
