#include "contracts/bernoulli_mask.h"

#include "contracts/check.h"

namespace caffe2op_mask {

Real CheckBernoulliMaskGradient(
    const char* op, const TensorView& z, const TensorView& mask, const TensorView& d_log_prob) {
  const Real type = RealType(op, "Z", z);
  MaskData(op, "mask", mask);
  Require(
      mask.sizes == z.sizes, op, ": mask must be of the shape of Z, ", z.sizes,
      ", but is of shape ", mask.sizes, ".");
  CheckSame(op, "d_log_prob", d_log_prob, "Z", z);
  return type;
}

}  // namespace caffe2op_mask
