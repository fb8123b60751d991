#include <tuple>

#include "contracts/check.h"
#include "contracts/mixture_gate.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

struct MixtureArguments {
  Input e;
  Input z;
  Input bias;
  MixtureTensors tensors;

  MixtureArguments(
      const char* op, const Tensor& of_e, const Tensor& of_z, const std::optional<Tensor>& of_bias,
      std::optional<int64_t> top_k, bool renormalize)
      : e(op, "e", of_e), z(op, "z", of_z), bias(op, "bias", of_bias) {
    const MixtureOptions options{top_k, renormalize};
    CheckMixtureOptions(op, options);
    tensors = BindMixture(op, options, *e, *z, bias.get());
  }
};

std::tuple<Tensor, Tensor> MixtureGateOp(
    const Tensor& e, const Tensor& z, const std::optional<Tensor>& bias,
    std::optional<int64_t> top_k, bool renormalize, bool return_gate) {
  constexpr const char* kOp = "mixture_gate";
  const MixtureArguments in(kOp, e, z, bias, top_k, renormalize);
  const Dims sizes = MixedSizes(in.e->sizes);
  CheckOutputSize(kOp, "Y", sizes, *in.e);
  Tensor y = Make(sizes, in.e.scalar_type());
  Tensor g = return_gate ? MakeLike(in.z) : None();
  MixtureGate(in.tensors, DataOf(&y), return_gate ? DataOf(&g) : nullptr, TorchParallelFor);
  return {y, g};
}

std::tuple<Tensor, Tensor> MixtureGateBackwardOp(
    const std::optional<Tensor>& d_y, const std::optional<Tensor>& d_g, const Tensor& e,
    const Tensor& z, const std::optional<Tensor>& bias, std::optional<int64_t> top_k,
    bool renormalize) {
  constexpr const char* kOp = "mixture_gate_backward";
  const MixtureArguments in(kOp, e, z, bias, top_k, renormalize);
  const Input of_d_y(kOp, "d_y", d_y);
  const Input of_d_g(kOp, "d_g", d_g);
  Require(d_y || d_g, kOp, ": d_y or d_g must be given, but neither is.");
  if (d_y) CheckMixedGradient(kOp, *of_d_y, *in.e);
  if (d_g) CheckSame(kOp, "d_g", *of_d_g, "z", *in.z);
  Tensor d_e = MakeLike(in.e);
  Tensor d_z = MakeLike(in.z);
  MixtureGateGradient(
      in.tensors, of_d_y->data, of_d_g->data, DataOf(&d_e), DataOf(&d_z), TorchParallelFor);
  return {d_e, d_z};
}

}  // namespace

#define OF_MIXTURE "Tensor e, Tensor z, Tensor? bias=None, int? top_k=None, bool renormalize=False"

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(&m, "mixture_gate(" OF_MIXTURE ", bool return_gate=False) -> (Tensor y, Tensor g)");
  Define(
      &m, "mixture_gate_backward(Tensor? d_y, Tensor? d_g, " OF_MIXTURE
          ") -> (Tensor d_e, Tensor d_z)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "mixture_gate", TORCH_BOX(&MixtureGateOp));
  Implement(&m, "mixture_gate_backward", TORCH_BOX(&MixtureGateBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
