#include <string>
#include <tuple>

#include "contracts/check.h"
#include "contracts/gate.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

std::optional<Number> NumberOf(std::optional<double> value) {
  if (!value) return std::nullopt;
  return RealNumber(*value);
}

// X, Z and the threshold, bound; numbers that are drawn come from `noise`, and where there is none
// the gate is that of a test.
struct GateArguments {
  Input x;
  Input z;
  Input threshold;
  GateFunction function;
  GateTensors tensors;

  GateArguments(
      const char* op, const Tensor& of_x, const Tensor& of_z,
      const std::optional<Tensor>& of_threshold, const std::optional<Tensor>& noise,
      const std::string& kind, std::optional<double> clip, std::optional<double> beta,
      std::optional<double> gamma, std::optional<double> zeta, std::optional<double> tau,
      std::optional<bool> hard)
      : x(op, "x", of_x), z(op, "z", of_z), threshold(op, "threshold", of_threshold) {
    GateOptions options;
    options.kind = kind;
    options.is_test = MayDrawNoise(kind) && !noise;
    options.clip = NumberOf(clip);
    options.beta = NumberOf(beta);
    options.gamma = NumberOf(gamma);
    options.zeta = NumberOf(zeta);
    options.tau = NumberOf(tau);
    options.hard = hard;
    function = ReadGateFunction(op, options, kGateKinds);
    Require(
        !noise || function.noisy, op,
        ": noise goes with kind = hard_concrete or gumbel_softmax, but kind is ", kind, ".");
    Require(
        !of_threshold || function.kind == GateKind::kRelu, op,
        ": threshold goes with kind = relu, but kind is ", kind, ".");
    if (noise) function.noise = NoiseOf(op, *Input(op, "noise", *noise));
    tensors = BindGate(op, {x.get(), z.get(), threshold.get()});
  }
};

std::tuple<Tensor, Tensor> GateOp(
    const Tensor& x, const Tensor& z, const std::optional<Tensor>& threshold,
    const std::optional<Tensor>& noise, const std::string& kind, std::optional<double> clip,
    std::optional<double> beta, std::optional<double> gamma, std::optional<double> zeta,
    std::optional<double> tau, std::optional<bool> hard, bool return_gate) {
  const GateArguments in("gate", x, z, threshold, noise, kind, clip, beta, gamma, zeta, tau, hard);
  Tensor y = MakeLike(in.x);
  Tensor g = return_gate ? MakeLike(in.z) : None();
  Gate(in.function, in.tensors, DataOf(&y), return_gate ? DataOf(&g) : nullptr, TorchParallelFor);
  return {y, g};
}

// d_threshold is empty where there is no threshold.
std::tuple<Tensor, Tensor, Tensor> GateBackwardOp(
    const std::optional<Tensor>& d_y, const std::optional<Tensor>& d_g, const Tensor& x,
    const Tensor& z, const std::optional<Tensor>& threshold, const std::optional<Tensor>& noise,
    const std::string& kind, std::optional<double> clip, std::optional<double> beta,
    std::optional<double> gamma, std::optional<double> zeta, std::optional<double> tau,
    std::optional<bool> hard) {
  constexpr const char* kOp = "gate_backward";
  const GateArguments in(kOp, x, z, threshold, noise, kind, clip, beta, gamma, zeta, tau, hard);
  const Input of_d_y(kOp, "d_y", d_y);
  const Input of_d_g(kOp, "d_g", d_g);
  Require(d_y || d_g, kOp, ": d_y or d_g must be given, but neither is.");
  if (d_y) CheckSame(kOp, "d_y", *of_d_y, "x", *in.x);
  if (d_g) CheckSame(kOp, "d_g", *of_d_g, "z", *in.z);
  Tensor d_x = MakeLike(in.x);
  Tensor d_z = MakeLike(in.z);
  Tensor d_threshold = threshold ? MakeLike(in.threshold) : None();
  // What X is does not matter to G.
  if (!d_y) Clear(&d_x);
  GateGradients gradients{};
  gradients.d_y = of_d_y->data;
  gradients.d_g = of_d_g->data;
  gradients.d_x = DataOf(&d_x);
  gradients.d_z = DataOf(&d_z);
  if (threshold) gradients.d_threshold = DataOf(&d_threshold);
  GateGradient(in.function, in.tensors, gradients, TorchParallelFor);
  return {d_x, d_z, d_threshold};
}

}  // namespace

#define OF_GATE                                                                            \
  "Tensor x, Tensor z, Tensor? threshold=None, Tensor? noise=None, str kind=\"sigmoid\", " \
  "float? clip=None, float? beta=None, float? gamma=None, float? zeta=None, "              \
  "float? tau=None, bool? hard=None"

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(&m, "gate(" OF_GATE ", bool return_gate=False) -> (Tensor y, Tensor g)");
  Define(
      &m, "gate_backward(Tensor? d_y, Tensor? d_g, " OF_GATE
          ") -> (Tensor d_x, Tensor d_z, Tensor d_threshold)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "gate", TORCH_BOX(&GateOp));
  Implement(&m, "gate_backward", TORCH_BOX(&GateBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
