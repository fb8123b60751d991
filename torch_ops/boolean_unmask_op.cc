#include <string>
#include <vector>

#include "contracts/boolean_unmask.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

// Masks with their values, bound.
struct Pairs {
  std::vector<Input> inputs;  // masks, then values
  UnmaskBound bound;

  Pairs(
      const char* op, const std::vector<Tensor>& of_masks, const std::vector<Tensor>& of_values,
      const std::string& layout, bool has_fill) {
    Require(
        !of_masks.empty() && of_masks.size() == of_values.size(), op,
        ": masks and values must be as many, and at least 1, but are ",
        static_cast<int64_t>(of_masks.size()), " and ", static_cast<int64_t>(of_values.size()),
        ".");
    const UnmaskLayout read_as = ReadUnmaskLayout(op, layout);
    std::vector<TensorView> views;
    for (const Tensor& mask : of_masks) inputs.emplace_back(op, "a mask", mask);
    for (const Tensor& values : of_values) inputs.emplace_back(op, "values", values);
    for (const Input& input : inputs) views.push_back(*input);
    const auto k = static_cast<int64_t>(of_masks.size());
    BindBooleanUnmask(
        op, read_as, views.data(), views.data() + k, k, has_fill, TorchParallelFor, &bound);
  }

  const Input& values(int64_t i) const { return inputs[static_cast<size_t>(bound.k() + i)]; }
  int64_t row_bytes() const { return RowBytes(bound.entries, bound.row, values(0)->element_bytes); }
};

Tensor BooleanUnmaskOp(
    const std::vector<Tensor>& masks, const std::vector<Tensor>& values, const std::string& layout,
    std::optional<double> fill_val) {
  constexpr const char* kOp = "boolean_unmask";
  const Pairs pairs(kOp, masks, values, layout, fill_val.has_value());
  const uint64_t fill = fill_val ? UnmaskFill(kOp, RealNumber(*fill_val), *pairs.values(0)) : 0;
  std::vector<const void*> rows;
  for (int64_t i = 0; i < pairs.bound.k(); ++i) rows.push_back(pairs.values(i)->data);
  Tensor data = Make(pairs.bound.data_sizes, pairs.values(0).scalar_type());
  ExpandRows(
      pairs.bound.masks.data(), pairs.bound.k(), pairs.bound.entries, pairs.row_bytes(),
      rows.data(), fill, DataOf(&data), TorchParallelFor);
  return data;
}

std::vector<Tensor> BooleanUnmaskBackwardOp(
    const std::vector<Tensor>& masks, const std::vector<Tensor>& values, const Tensor& d_data,
    const std::string& layout) {
  constexpr const char* kOp = "boolean_unmask_backward";
  const Input from(kOp, "d_data", d_data);
  CheckUnmaskGradientType(kOp, *from);
  const Pairs pairs(kOp, masks, values, layout, /*has_fill=*/true);
  CheckUnmaskGradientSizes(kOp, *from, pairs.bound);
  std::vector<Tensor> d_values;
  std::vector<void*> to;
  for (int64_t i = 0; i < pairs.bound.k(); ++i) {
    d_values.push_back(Make(pairs.values(i)->sizes, from.scalar_type()));
    to.push_back(DataOf(&d_values.back()));
  }
  SplitRows(
      pairs.bound.masks.data(), pairs.bound.k(), pairs.bound.entries,
      RowBytes(pairs.bound.entries, pairs.bound.row, from->element_bytes), from->data, to.data(),
      TorchParallelFor);
  return d_values;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "boolean_unmask(Tensor[] masks, Tensor[] values, str layout=\"auto\", "
      "float? fill_val=None) -> Tensor");
  Define(
      &m,
      "boolean_unmask_backward(Tensor[] masks, Tensor[] values, Tensor d_data, "
      "str layout=\"auto\") -> Tensor[]");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "boolean_unmask", TORCH_BOX(&BooleanUnmaskOp));
  Implement(&m, "boolean_unmask_backward", TORCH_BOX(&BooleanUnmaskBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
