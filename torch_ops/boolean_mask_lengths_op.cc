#include "contracts/boolean_mask_lengths.h"
#include "kernels/boolean_mask.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

template <typename Index>
Tensor Count(const char* op, const TensorView& lengths, Sizes mask, const CountedMask& counted) {
  Tensor counts = Make(MaskedLengthsSizes(lengths.sizes, mask), counted.type);
  if (counted.by_rows) {
    CountTrueInRows(
        counted.mask, mask[0], counted.columns, DataOf<Index>(&counts), TorchParallelFor);
    return counts;
  }
  SegmentTable table;
  CheckSegmentLengths<Index>(op, lengths, counted.columns, &table, TorchParallelFor);
  CountTrueInSegments(
      counted.mask, counted.columns, lengths.As<Index>(), lengths.numel(), table,
      DataOf<Index>(&counts), /*offsets=*/nullptr, TorchParallelFor);
  return counts;
}

Tensor BooleanMaskLengthsOp(const Tensor& lengths, const Tensor& mask) {
  constexpr const char* kOp = "boolean_mask_lengths";
  const Input of(kOp, "lengths", lengths);
  const Input keep(kOp, "mask", mask);
  const CountedMask counted = BindBooleanMaskLengths(kOp, *of, *keep);
  return counted.type == ElementType::kInt32 ? Count<int32_t>(kOp, *of, keep->sizes, counted)
                                             : Count<int64_t>(kOp, *of, keep->sizes, counted);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(&m, "boolean_mask_lengths(Tensor lengths, Tensor mask) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "boolean_mask_lengths", TORCH_BOX(&BooleanMaskLengthsOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
