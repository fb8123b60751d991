#include <tuple>

#include "contracts/bernoulli_mask.h"
#include "contracts/check.h"
#include "contracts/gate.h"
#include "kernels/random_mask.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

std::tuple<Tensor, Tensor> BernoulliMaskOp(const Tensor& z, const Tensor& noise) {
  constexpr const char* kOp = "bernoulli_mask";
  const Input of_z(kOp, "z", z);
  const RandomStream stream = NoiseOf(kOp, *Input(kOp, "noise", noise));
  const Real type = RealType(kOp, "Z", *of_z);
  Tensor mask = Make(of_z->sizes, ScalarType::Bool);
  Tensor log_prob = MakeLike(of_z);
  BernoulliMask(
      type, of_z->data, of_z->numel(), stream, DataOf<bool>(&mask), DataOf(&log_prob),
      TorchParallelFor);
  return {mask, log_prob};
}

Tensor BernoulliMaskBackwardOp(const Tensor& d_log_prob, const Tensor& z, const Tensor& mask) {
  constexpr const char* kOp = "bernoulli_mask_backward";
  const Input of_z(kOp, "z", z);
  const Input of_mask(kOp, "mask", mask);
  const Input of_d(kOp, "d_log_prob", d_log_prob);
  const Real type = CheckBernoulliMaskGradient(kOp, *of_z, *of_mask, *of_d);
  Tensor d_z = MakeLike(of_z);
  BernoulliMaskGradient(
      type, of_z->data, of_mask->As<bool>(), of_d->data, of_z->numel(), DataOf(&d_z),
      TorchParallelFor);
  return d_z;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(&m, "bernoulli_mask(Tensor z, Tensor noise) -> (Tensor mask, Tensor log_prob)");
  Define(&m, "bernoulli_mask_backward(Tensor d_log_prob, Tensor z, Tensor mask) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "bernoulli_mask", TORCH_BOX(&BernoulliMaskOp));
  Implement(&m, "bernoulli_mask_backward", TORCH_BOX(&BernoulliMaskBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
