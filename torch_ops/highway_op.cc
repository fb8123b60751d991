#include <string>
#include <tuple>

#include "contracts/check.h"
#include "contracts/gate.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

struct HighwayArguments {
  Input h;
  Input x;
  Input z;
  GateFunction function;
  GateTensors tensors;

  HighwayArguments(
      const char* op, const Tensor& of_h, const Tensor& of_x, const Tensor& of_z,
      const std::string& kind, std::optional<double> clip)
      : h(op, "h", of_h), x(op, "x", of_x), z(op, "z", of_z) {
    GateOptions options;
    options.kind = kind;
    if (clip) options.clip = RealNumber(*clip);
    function = ReadGateFunction(op, options, kHighwayKinds);
    tensors = BindGate(op, {h.get(), z.get(), /*threshold=*/nullptr, x.get(), "h", "x"});
  }
};

Tensor HighwayOp(
    const Tensor& h, const Tensor& x, const Tensor& z, const std::string& kind,
    std::optional<double> clip) {
  const HighwayArguments in("highway", h, x, z, kind, clip);
  Tensor y = MakeLike(in.h);
  Gate(in.function, in.tensors, DataOf(&y), nullptr, TorchParallelFor);
  return y;
}

std::tuple<Tensor, Tensor, Tensor> HighwayBackwardOp(
    const Tensor& d_y, const Tensor& h, const Tensor& x, const Tensor& z, const std::string& kind,
    std::optional<double> clip) {
  constexpr const char* kOp = "highway_backward";
  const HighwayArguments in(kOp, h, x, z, kind, clip);
  const Input of_d_y(kOp, "d_y", d_y);
  CheckSame(kOp, "d_y", *of_d_y, "h", *in.h);
  Tensor d_h = MakeLike(in.h);
  Tensor d_x = MakeLike(in.x);
  Tensor d_z = MakeLike(in.z);
  GateGradients gradients{};
  gradients.d_y = of_d_y->data;
  gradients.d_x = DataOf(&d_h);
  gradients.d_carry = DataOf(&d_x);
  gradients.d_z = DataOf(&d_z);
  GateGradient(in.function, in.tensors, gradients, TorchParallelFor);
  return {d_h, d_x, d_z};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "highway(Tensor h, Tensor x, Tensor z, str kind=\"sigmoid\", float? clip=None) -> Tensor");
  Define(
      &m,
      "highway_backward(Tensor d_y, Tensor h, Tensor x, Tensor z, str kind=\"sigmoid\", "
      "float? clip=None) -> (Tensor d_h, Tensor d_x, Tensor d_z)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "highway", TORCH_BOX(&HighwayOp));
  Implement(&m, "highway_backward", TORCH_BOX(&HighwayBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
