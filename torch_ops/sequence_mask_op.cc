#include <array>
#include <string>

#include "contracts/broadcast.h"
#include "contracts/sequence_mask.h"
#include "kernels/masked_fill.h"
#include "kernels/sequence_mask.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

Tensor SequenceMaskOp(
    const Tensor& data, const std::string& mode, const std::optional<Tensor>& lengths,
    const std::optional<Tensor>& centers, const std::optional<Tensor>& left_pad,
    const std::optional<Tensor>& mask, int64_t axis, std::optional<int64_t> batch,
    std::optional<int64_t> repeat_from_axis, int64_t radius, int64_t diagonal,
    const std::string& lengths_of, std::optional<double> fill_val, bool grad) {
  constexpr const char* kOp = "sequence_mask";
  SequenceMaskOptions options;
  options.shape.mode = mode;
  options.shape.radius = radius;
  options.shape.diagonal = diagonal;
  options.axis = axis;
  options.batch = batch;
  options.repeat_from_axis = repeat_from_axis;
  options.lengths_of = lengths_of;
  options.grad = grad;
  if (fill_val) options.fill_val = RealNumber(*fill_val);
  const SequenceMaskContract contract(kOp, options);
  const Input in(kOp, "data", data);
  const uint64_t fill = contract.Fill(*in);
  if (contract.by_mask()) {
    const Input keep = Given(kOp, "mask", mask);
    const LeadingEntries at = contract.BindMask(*in, *keep);
    Tensor masked = MakeLike(in);
    MaskedFill(
        keep->As<bool>(), at, in->element_bytes, in->data, fill, DataOf(&masked), TorchParallelFor);
    return masked;
  }
  const std::array<const std::optional<Tensor>*, kRowInputs> given{&lengths, &centers, &left_pad};
  std::array<Input, kRowInputs> inputs;
  std::array<TensorView, kRowInputs> views;
  for (const RowInput input : contract.row_inputs()) {
    inputs[input] = Given(kOp, NameOf(input), *given[input]);
    views[input] = *inputs[input];
  }
  const SequenceMaskContract::Bound bound = contract.BindShape(*in, views);
  Tensor masked = MakeLike(in);
  RepeatedMask(
      bound.left, bound.masked, bound.repeated, in->element_bytes, in->data, bound.functor, fill,
      DataOf(&masked), TorchParallelFor);
  return masked;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "sequence_mask(Tensor data, str mode, Tensor? lengths=None, Tensor? centers=None, "
      "Tensor? left_pad=None, Tensor? mask=None, int axis=1, int? batch=None, "
      "int? repeat_from_axis=None, int radius=10, int diagonal=0, str lengths_of=\"rows\", "
      "float? fill_val=None, bool grad=False) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "sequence_mask", TORCH_BOX(&SequenceMaskOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
