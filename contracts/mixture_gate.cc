#include "contracts/mixture_gate.h"

#include "contracts/check.h"

namespace caffe2op_mask {

void CheckMixtureOptions(const char* op, const MixtureOptions& options) {
  const int64_t top_k = options.top_k.value_or(1);
  Require(top_k >= 1, op, ": argument top_k must be at least 1, but is ", top_k, ".");
}

MixtureTensors BindMixture(
    const char* op, const MixtureOptions& options, const TensorView& e, const TensorView& z,
    const TensorView* bias) {
  MixtureTensors tensors{};
  tensors.type = RealType(op, "E", e);
  CheckSameType(op, "Z", z, "E", e);
  Require(e.rank() >= 2, op, ": E must have at least 2 dims, but is of shape ", e.sizes, ".");
  Require(
      z.sizes == e.sizes.First(2), op, ": Z must be of the first 2 dims of E, ", e.sizes,
      ", but is of shape ", z.sizes, ".");
  tensors.rows = e.sizes[0];
  tensors.experts = e.sizes[1];
  tensors.top_k = options.top_k.value_or(tensors.experts);
  Require(
      tensors.top_k <= tensors.experts, op, ": argument top_k must be at most the ",
      tensors.experts, " experts of Z, but is ", tensors.top_k, ".");
  // Where there are no rows, the product of the other dims need not be an int64.
  tensors.columns = tensors.rows == 0 ? 0 : Product(e.sizes.From(2));
  tensors.e = e.data;
  tensors.z = z.data;
  tensors.renormalize = options.renormalize;
  if (bias != nullptr) {
    CheckIs(op, "bias", *bias, e.sizes.Between(1, 2), WideOf(tensors.type));
    tensors.bias = bias->data;
  }
  return tensors;
}

void CheckMixedGradient(const char* op, const TensorView& d_y, const TensorView& e) {
  const Dims sizes = MixedSizes(e.sizes);
  CheckSameType(op, "d_Y", d_y, "E", e);
  Require(
      d_y.sizes == sizes, op, ": d_Y must be of shape ", Sizes(sizes),
      ", as Y is, but is of shape ", d_y.sizes, ".");
}

}  // namespace caffe2op_mask
