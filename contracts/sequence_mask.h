#pragma once

// SequenceMask: what it takes, and what its kernels are called with.

#include <array>
#include <optional>
#include <string_view>

#include "contracts/mask_shape.h"
#include "contracts/number.h"
#include "contracts/tensor_view.h"
#include "kernels/broadcast.h"

namespace caffe2op_mask {

struct SequenceMaskOptions {
  ShapeOptions shape;  // with mode = mask, of none
  int64_t axis = 1;
  std::optional<int64_t> batch;
  std::optional<int64_t> repeat_from_axis;
  std::string_view lengths_of = "rows";
  bool grad = false;
  std::optional<Number> fill_val;  // -inf where there is none; 0 with mode = mask
};

class SequenceMaskContract {
 public:
  SequenceMaskContract(const char* op, const SequenceMaskOptions& options);

  // The inputs behind data that the mode reads: a mask, or these.
  bool by_mask() const { return !shape_; }
  const std::vector<RowInput>& row_inputs() const { return shape_->row_inputs(); }

  // What masked entries of data become, as a fill pattern (kernels/fill.h).
  uint64_t Fill(const TensorView& data) const;

  // Data as a kernel takes it: [left, masked, repeated], with a functor for the rows.
  struct Bound {
    int64_t left;
    int64_t masked;
    int64_t repeated;
    IntersectionFunctor functor;
  };
  // `inputs` are those of row_inputs(), by their numbers.
  Bound BindShape(const TensorView& data, const std::array<TensorView, kRowInputs>& inputs) const;

  // Where the entries of the mask lie on those of data.
  LeadingEntries BindMask(const TensorView& data, const TensorView& mask) const;

 private:
  int64_t Axis(const char* name, int64_t axis, Sizes data) const;
  RowEntries RowsOf(
      const char* name, const TensorView& index, Sizes data, int64_t axis, int64_t rows) const;

  const char* op_;
  std::optional<MaskShape> shape_;
  int64_t axis_;
  std::optional<int64_t> batch_;
  std::optional<int64_t> repeat_from_axis_;
  bool by_rows_;  // lengths_of
  bool grad_;
  Number fill_val_;
};

}  // namespace caffe2op_mask
