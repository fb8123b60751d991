#include <string>

#include "contracts/gate.h"
#include "contracts/random_mask.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

Tensor RandomMaskOp(
    const Tensor& like, const Tensor& noise, const std::optional<Tensor>& lengths, double p,
    const std::string& unit, std::optional<int64_t> span_length,
    std::optional<int64_t> min_masked) {
  constexpr const char* kOp = "random_mask";
  CheckPlace(kOp, "like", like);
  const Input of_lengths(kOp, "lengths", lengths);
  const RandomStream stream = NoiseOf(kOp, *Input(kOp, "noise", noise));
  const RandomMaskContract contract(
      kOp, {RealNumber(p), unit, span_length, min_masked}, lengths.has_value());
  const auto sizes_of = like.sizes();
  const Sizes sizes(sizes_of.data(), static_cast<int64_t>(sizes_of.size()));
  const RowLimits limits = contract.Limits(sizes, of_lengths.get());
  Tensor mask = Make(sizes, ScalarType::Bool);
  contract.Draw(sizes, limits, stream, DataOf<bool>(&mask), TorchParallelFor);
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "random_mask(Tensor like, Tensor noise, Tensor? lengths=None, float p=0.15, "
      "str unit=\"element\", int? span_length=None, int? min_masked=None) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "random_mask", TORCH_BOX(&RandomMaskOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
