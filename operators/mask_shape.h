#pragma once

// From an operator's `mode`, `radius`, `diagonal` and the inputs that these name to
// the functors of kernels/functors.h.

#include <array>
#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/functors.h"
#include "operators/arguments.h"

namespace caffe2 {
namespace mask {

// The inputs of which shapes read an entry for each row, in the order in which an
// operator has those that its mode needs.
enum RowInput : size_t { kLengths, kCenters, kLeftPad, kRowInputs };

const char* NameOf(RowInput input);

// Such an input, null where it is not needed, and which of its entries belongs to a row.
struct RowEntries {
  const Tensor* tensor = nullptr;
  caffe2op_mask::RowIndex index;
};

// One of the shapes that a mode may name; see mask_shape.cc.
struct MaskPart;

// A text of a schema, which keeps a pointer to it for good. {shapes} becomes the rows of a table,
// "| name | where it keeps | the input it reads |", and {names} the names, joined by commas.
const char* WithShapes(const char* text);

// The shapes that `mode` joins with '+': what each of them masks is masked.
class MaskShape {
 public:
  // SequenceMask must have a mode; an operator on scores may do without, and may
  // have a band, window_left and window_right, around the position of a row.
  enum class Use { kSequenceMask, kScores };

  // Reads the arguments; throws where one is not what it should be.
  MaskShape(const OperatorDef& def, Use use);

  // The inputs that the shapes read.
  const std::vector<RowInput>& row_inputs() const { return row_inputs_; }

  // The functor for rows counted over all dims before the columns, standing at
  // `position`.
  caffe2op_mask::IntersectionFunctor Functor(
      const caffe2op_mask::RowPosition& position,
      const std::array<RowEntries, kRowInputs>& entries) const;

 private:
  std::vector<const MaskPart*> parts_;  // each once
  std::vector<RowInput> row_inputs_;
  int64_t radius_;
  int64_t diagonal_;
  int64_t window_left_ = -1;
  int64_t window_right_ = -1;
};

}  // namespace mask
}  // namespace caffe2
