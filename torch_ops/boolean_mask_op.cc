#include <tuple>

#include "contracts/boolean_mask.h"
#include "contracts/broadcast.h"
#include "kernels/aligned_buffer.h"
#include "kernels/boolean_mask.h"
#include "kernels/boolean_unmask.h"
#include "kernels/chunk.h"
#include "kernels/masked_fill.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

std::tuple<Tensor, Tensor> BooleanMaskOp(
    const Tensor& data, const Tensor& mask, bool keep_shape, std::optional<double> fill_val,
    bool return_indices) {
  constexpr const char* kOp = "boolean_mask";
  CheckBooleanMaskOptions(kOp, keep_shape, fill_val.has_value());
  Require(
      !keep_shape || !return_indices, kOp,
      ": return_indices goes with compaction only, but keep_shape is True.");
  const Input values(kOp, "data", data);
  const Input keep(kOp, "mask", mask);
  const RowMask rows = BindBooleanMask(kOp, *values, *keep);
  if (keep_shape) {
    const uint64_t fill = BooleanMaskFill(kOp, RealNumber(fill_val.value_or(0)), *values);
    Tensor masked = MakeLike(values);
    MaskedFill(
        rows.keep, BroadcastLeading(values->sizes, keep->sizes), values->element_bytes,
        values->data, fill, DataOf(&masked), TorchParallelFor);
    return {masked, None()};
  }
  AlignedBuffer<int64_t> offsets(NumChunks(rows.entries));
  const int64_t kept = ChunkOffsets(rows.keep, rows.entries, offsets.data(), TorchParallelFor);
  Tensor masked = Make(MaskedSizes(rows, kept), values.scalar_type());
  CompressRows(
      rows.keep, rows.entries, offsets.data(), RowBytes(kept, rows.row, values->element_bytes),
      values->data, DataOf(&masked), TorchParallelFor);
  if (!return_indices) return {masked, None()};
  Tensor indices = Make(Dims{kept}, ScalarType::Long);
  CompressIndices(
      rows.keep, rows.entries, offsets.data(), DataOf<int64_t>(&indices), TorchParallelFor);
  return {masked, indices};
}

Tensor BooleanMaskBackwardOp(const Tensor& mask, const Tensor& d_masked, bool keep_shape) {
  constexpr const char* kOp = "boolean_mask_backward";
  const Input keep(kOp, "mask", mask);
  const Input from(kOp, "d_masked", d_masked);
  const RowMask rows = BindBooleanMaskGradient(kOp, *keep, *from, keep_shape);
  if (keep_shape) {
    Tensor d_data = MakeLike(from);
    MaskedFill(
        rows.keep, BroadcastLeading(from->sizes, keep->sizes), from->element_bytes, from->data, 0,
        DataOf(&d_data), TorchParallelFor);
    return d_data;
  }
  AlignedBuffer<int64_t> offsets(NumChunks(rows.entries));
  MaskedRows masked{rows.keep, false, offsets.data(), 0};
  CountOwned(&masked, 1, rows.entries, TorchParallelFor);
  Tensor d_data =
      Make(BooleanMaskGradientSizes(kOp, *keep, *from, masked.owned), from.scalar_type());
  ExpandRows(
      &masked, 1, rows.entries, RowBytes(rows.entries, rows.row, from->element_bytes), &from->data,
      0, DataOf(&d_data), TorchParallelFor);
  return d_data;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "boolean_mask(Tensor data, Tensor mask, bool keep_shape=False, float? fill_val=None, "
      "bool return_indices=False) -> (Tensor masked, Tensor indices)");
  Define(
      &m, "boolean_mask_backward(Tensor mask, Tensor d_masked, bool keep_shape=False) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "boolean_mask", TORCH_BOX(&BooleanMaskOp));
  Implement(&m, "boolean_mask_backward", TORCH_BOX(&BooleanMaskBackwardOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
