#pragma once

// From `mode`, `radius`, `diagonal` and the inputs that these name to the functors of
// kernels/functors.h.

#include <array>
#include <string_view>
#include <vector>

#include "contracts/tensor_view.h"
#include "kernels/functors.h"

namespace caffe2op_mask {

// The inputs of which shapes read an entry for each row, in the order in which an operator has
// those that its mode needs.
enum RowInput : size_t { kLengths, kCenters, kLeftPad, kRowInputs };

const char* NameOf(RowInput input);

// Such an input, and which of its entries belongs to a row.
struct RowEntries {
  const void* data = nullptr;
  bool is_int32 = false;
  RowIndex index;
};

struct ShapeOptions {
  std::string_view mode;
  int64_t radius = 10;
  int64_t diagonal = 0;
  // A band around the position of a row; -1 is open. Of scores alone.
  int64_t window_left = -1;
  int64_t window_right = -1;
};

// One of the shapes that a mode may name; see mask_shape.cc.
struct MaskPart;

// A text of documentation, with {shapes} as the rows of a table, "| name | where it keeps | the
// input it reads |", and {names} as the names, joined by commas. It is kept for good.
const char* WithShapes(const char* text);

// The shapes that `mode` joins with '+': what each of them masks is masked.
class MaskShape {
 public:
  // SequenceMask must have a mode; an operator on scores may do without.
  enum class Use { kSequenceMask, kScores };

  // Throws where an option is not what it should be.
  MaskShape(const char* op, const ShapeOptions& options, Use use);

  // The inputs that the shapes read.
  const std::vector<RowInput>& row_inputs() const { return row_inputs_; }
  bool Reads(RowInput input) const;

  // The functor for rows counted over all dims before the columns, standing at `position`.
  IntersectionFunctor Functor(
      const RowPosition& position, const std::array<RowEntries, kRowInputs>& entries) const;

 private:
  std::vector<const MaskPart*> parts_;  // each once
  std::vector<RowInput> row_inputs_;
  int64_t radius_;
  int64_t diagonal_;
  int64_t window_left_;
  int64_t window_right_;
};

}  // namespace caffe2op_mask
