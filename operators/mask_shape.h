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
  // Reads mode, radius and diagonal; throws where one is not what it should be.
  explicit MaskShape(const OperatorDef& def);

  bool needs_lengths() const { return Has("sequence"); }
  bool needs_centers() const { return Has("window"); }

  // The functor for rows counted over all dims before the columns, of which
  // `rows` make one matrix. Tensors may be null where they are not needed.
  caffe2op_mask::IntersectionFunctor Functor(
      int64_t rows, const Tensor* lengths, caffe2op_mask::RowIndex lengths_index,
      const Tensor* centers, caffe2op_mask::RowIndex centers_index) const;

 private:
  bool Has(const std::string& part) const;

  std::vector<std::string> parts_;
  int64_t radius_;
  int64_t diagonal_;
};

}  // namespace mask
}  // namespace caffe2
