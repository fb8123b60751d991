#include <tuple>

#include "contracts/boolean_mask_jagged.h"
#include "contracts/boolean_mask_lengths.h"
#include "contracts/check.h"
#include "kernels/aligned_buffer.h"
#include "kernels/boolean_mask.h"
#include "kernels/chunk.h"
#include "torch_ops/library.h"
#include "torch_ops/tensor.h"

namespace caffe2op_mask {
namespace torch_ops {
namespace {

template <typename Index>
std::tuple<Tensor, Tensor> Compress(
    const char* op, const Input& values, const Input& lengths, const RowMask& mask) {
  SegmentTable table;
  CheckSegmentLengths<Index>(op, *lengths, mask.entries, &table, TorchParallelFor);
  AlignedBuffer<int64_t> offsets(NumChunks(mask.entries));
  Tensor counts = MakeLike(lengths);
  // Counting the segments also gives where the rows of each chunk go.
  const int64_t kept = CountTrueInSegments(
      mask.keep, mask.entries, lengths->As<Index>(), lengths->numel(), table,
      DataOf<Index>(&counts), offsets.data(), TorchParallelFor);
  Tensor masked = Make(MaskedSizes(mask, kept), values.scalar_type());
  CompressRows(
      mask.keep, mask.entries, offsets.data(), RowBytes(kept, mask.row, values->element_bytes),
      values->data, DataOf(&masked), TorchParallelFor);
  return {masked, counts};
}

std::tuple<Tensor, Tensor> BooleanMaskJaggedOp(
    const Tensor& values, const Tensor& lengths, const Tensor& mask) {
  constexpr const char* kOp = "boolean_mask_jagged";
  const Input rows(kOp, "values", values);
  const Input of(kOp, "lengths", lengths);
  const Input keep(kOp, "mask", mask);
  const bool is_int32 = IsInt32(kOp, "lengths", *of);
  const RowMask bound = BindBooleanMaskJagged(kOp, *rows, *keep);
  return is_int32 ? Compress<int32_t>(kOp, rows, of, bound)
                  : Compress<int64_t>(kOp, rows, of, bound);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(caffe2op_mask, m) {
  Define(
      &m,
      "boolean_mask_jagged(Tensor values, Tensor lengths, Tensor mask) -> (Tensor masked, "
      "Tensor masked_lengths)");
}

STABLE_TORCH_LIBRARY_IMPL(caffe2op_mask, CompositeExplicitAutograd, m) {
  Implement(&m, "boolean_mask_jagged", TORCH_BOX(&BooleanMaskJaggedOp));
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
