#pragma once

// From an operator's `mode`, `radius`, `diagonal` and its lengths and centers
// to the functors of kernels/functors.h.

#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "kernels/functors.h"
#include "operators/arguments.h"

namespace caffe2 {
namespace mask {

// The shapes that `mode` joins with '+': what each of them masks is masked.
class MaskShape {
 public:
  // SequenceMask must have a mode; an operator on scores may do without, and may
  // have a band, window_left and window_right, around the position of a row.
  enum class Use { kSequenceMask, kScores };

  // Reads the arguments; throws where one is not what it should be.
  MaskShape(const OperatorDef& def, Use use);

  bool needs_lengths() const { return Has("sequence"); }
  bool needs_centers() const { return Has("window"); }

  // The functor for rows counted over all dims before the columns, standing at
  // `position`. Tensors may be null where they are not needed.
  caffe2op_mask::IntersectionFunctor Functor(
      const caffe2op_mask::RowPosition& position, const Tensor* lengths,
      caffe2op_mask::RowIndex lengths_index, const Tensor* centers,
      caffe2op_mask::RowIndex centers_index) const;

 private:
  bool Has(const std::string& part) const;

  std::vector<std::string> parts_;
  int64_t radius_;
  int64_t diagonal_;
  int64_t window_left_ = -1;
  int64_t window_right_ = -1;
};

}  // namespace mask
}  // namespace caffe2
