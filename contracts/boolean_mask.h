#pragma once

// BooleanMask and its gradient: what they take, and what their kernels are called with.

#include <optional>

#include "contracts/number.h"
#include "contracts/tensor_view.h"

namespace caffe2op_mask {

// A mask over the leading dims of a tensor, each entry of which stands for a row.
struct RowMask {
  const bool* keep;
  int64_t entries;
  Sizes row;  // the dims behind those of the mask
};

// Throws unless fill_val is given with keep_shape alone.
void CheckBooleanMaskOptions(const char* op, bool keep_shape, bool has_fill_val);

RowMask BindBooleanMask(const char* op, const TensorView& data, const TensorView& mask);

// Sizes of masked, of which `kept` rows are kept.
inline Dims MaskedSizes(const RowMask& mask, int64_t kept) {
  return Dims{kept}.Append(mask.row);
}

// What data is filled with that keeps its shape, as a fill pattern (kernels/fill.h).
uint64_t BooleanMaskFill(const char* op, const Number& fill_val, const TensorView& data);

// Of the gradient, where data kept its shape or not. `row` is that of d_masked.
RowMask BindBooleanMaskGradient(
    const char* op, const TensorView& mask, const TensorView& d_masked, bool keep_shape);

// Sizes of d_data, once `kept`, the number of True, is known; throws unless d_masked has as many
// rows.
Dims BooleanMaskGradientSizes(
    const char* op, const TensorView& mask, const TensorView& d_masked, int64_t kept);

}  // namespace caffe2op_mask
