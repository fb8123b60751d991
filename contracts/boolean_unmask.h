#pragma once

// BooleanUnmask and its gradient: what they take, and what their kernels are called with.

#include <string_view>
#include <vector>

#include "contracts/number.h"
#include "contracts/tensor_view.h"
#include "kernels/boolean_unmask.h"
#include "kernels/parallel.h"

namespace caffe2op_mask {

// How values are read: dense ones have a row for each entry of their mask, compact ones for each
// that is theirs.
enum class UnmaskLayout { kAuto, kCompact, kDense };

// Throws unless the argument layout is auto, compact or dense.
UnmaskLayout ReadUnmaskLayout(const char* op, std::string_view layout);

// Whether values are dense that are not required to be.
inline bool IsDense(UnmaskLayout layout, Sizes mask, Sizes values) {
  return layout != UnmaskLayout::kCompact && values.BeginsWith(mask);
}

// Sizes of data, given those of a mask and its values, which have at least one dim.
inline Dims UnmaskedSizes(UnmaskLayout layout, Sizes mask, Sizes values) {
  return Dims(mask).Append(values.From(IsDense(layout, mask, values) ? mask.rank() : 1));
}

// What kernels take. It can be bound again and again, and so allocates once.
struct UnmaskBound {
  std::vector<MaskedRows> masks;
  std::vector<int64_t> offsets;
  int64_t entries = 0;  // of each mask
  Sizes row;            // of values and of data
  Dims data_sizes;

  int64_t k() const { return static_cast<int64_t>(masks.size()); }
};

// masks[i] and values[i], i < k, pair up. Throws where their shapes do not go together, or a
// position is without an owner and `has_fill` is false.
void BindBooleanUnmask(
    const char* op, UnmaskLayout layout, const TensorView* masks, const TensorView* values,
    int64_t k, bool has_fill, ParallelFor parallel_for, UnmaskBound* bound);

// What positions without an owner become, as a fill pattern (kernels/fill.h).
uint64_t UnmaskFill(const char* op, const Number& fill_val, const TensorView& values);

// Throw unless d_data is of numbers or bool, which is known before anything is bound, and of data's
// sizes.
void CheckUnmaskGradientType(const char* op, const TensorView& d_data);
void CheckUnmaskGradientSizes(const char* op, const TensorView& d_data, const UnmaskBound& bound);

}  // namespace caffe2op_mask
