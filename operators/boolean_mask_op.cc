#include "operators/boolean_mask_op.h"

#include <ATen/core/DimVector.h>

#include "kernels/boolean_mask.h"
#include "kernels/boolean_unmask.h"
#include "kernels/chunk.h"
#include "kernels/fill.h"
#include "kernels/masked_fill.h"
#include "operators/check.h"
#include "operators/chunk_offsets.h"
#include "operators/element_types.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

BooleanMaskOp::BooleanMaskOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws),
      keep_shape_(Arguments(def).Bool("keep_shape", false)),
      fill_val_(Arguments(def).Float("fill_val", 0.0F)) {
  CAFFE_ENFORCE(
      !keep_shape_ || def.output_size() == 1,
      "BooleanMask: with keep_shape there is 1 output, masked, but ", def.output_size(),
      " are named; indices go with compaction only.");
  CAFFE_ENFORCE(
      keep_shape_ || !Arguments(def).Has("fill_val"),
      "BooleanMask: argument fill_val goes with keep_shape = 1, but keep_shape is 0.");
}

bool BooleanMaskOp::RunOnDevice() {
  const Tensor& data = Input(0);
  const Tensor& mask = Input(1);
  MaskData("BooleanMask", "mask", mask);
  CheckLeadingDims("BooleanMask", "mask", mask.sizes(), "data", data.sizes());
  return keep_shape_ ? DispatchAny(this, data) : Compact(data, mask);
}

bool BooleanMaskOp::Compact(const Tensor& data, const Tensor& mask) {
  CAFFE_ENFORCE(
      !IsInputOutputAlias(0, 0),
      "BooleanMask: masked must not be data itself unless keep_shape is 1.");
  const TypeMeta type = data.dtype();
  const void* const from = data.raw_data();
  const bool* const keep = mask.data<bool>();
  const int64_t n = mask.numel();
  Offsets offsets = OffsetsFor(n);
  const int64_t kept = ChunkOffsets(keep, n, offsets.data(), AtParallelFor);

  at::DimVector sizes(data.sizes().slice(static_cast<size_t>(mask.dim() - 1)));
  sizes[0] = kept;
  const int64_t row = Product(sizes, 1, static_cast<int64_t>(sizes.size()));
  Tensor* const masked = Output(0);
  masked->Resize(at::IntArrayRef(sizes));
  void* const to = masked->raw_mutable_data(type);
  const int64_t row_bytes = RowBytes(kept, row, type);
  if (IsPlain(type)) {
    CompressRows(keep, n, offsets.data(), row_bytes, from, to, AtParallelFor);
  } else {
    const auto* const bytes = reinterpret_cast<const uint8_t*>(keep);
    int64_t written = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (bytes[i] == 0) continue;
      context_.CopyItemsSameDevice(
          type, static_cast<size_t>(row), static_cast<const char*>(from) + i * row_bytes,
          static_cast<char*>(to) + written++ * row_bytes);
    }
  }
  if (OutputSize() == 2) {
    Tensor* const indices = Output(1, {kept}, at::dtype<int64_t>());
    CompressIndices(keep, n, offsets.data(), indices->mutable_data<int64_t>(), AtParallelFor);
  }
  return true;
}

template <typename T>
bool BooleanMaskOp::DoRunWithType() {
  const Tensor& data = Input(0);
  const Tensor& mask = Input(1);
  const uint64_t fill = FillPattern(ConvertFill<T>("BooleanMask", fill_val_));
  const T* const from = data.data<T>();
  Tensor* const masked = Output(0, data.sizes(), at::dtype<T>());
  const LeadingEntries entries =
      LeadingBroadcast(data.sizes().data(), data.dim(), mask.sizes().data(), mask.dim());
  MaskedFill(
      mask.data<bool>(), entries, sizeof(T), from, fill, masked->mutable_data<T>(), AtParallelFor);
  return true;
}

bool BooleanMaskOp::DoRunWithOtherType() {
  CAFFE_THROW(
      "BooleanMask: with keep_shape data must be a number or bool, but is of type ",
      TypeName(Input(0).dtype()), ".");
}

BooleanMaskGradientOp::BooleanMaskGradientOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(def, ws), keep_shape_(Arguments(def).Bool("keep_shape", false)) {}

// What is not kept gets zeros, which every type has alike: rows move as bytes.
bool BooleanMaskGradientOp::RunOnDevice() {
  const Tensor& mask = Input(0);
  const Tensor& d_masked = Input(1);
  const TypeMeta type = d_masked.dtype();
  CAFFE_ENFORCE(
      IsPlain(type), "BooleanMaskGradient: d_masked must be a number or bool, but is of type ",
      TypeName(type), ".");
  const bool* const keep = MaskData("BooleanMaskGradient", "mask", mask);
  const at::IntArrayRef mask_sizes = mask.sizes();
  const at::IntArrayRef masked_sizes = d_masked.sizes();
  const void* const from = d_masked.raw_data();
  if (keep_shape_) {
    CheckLeadingDims("BooleanMaskGradient", "mask", mask_sizes, "d_masked", masked_sizes);
    Tensor* const d_data = Output(0);
    d_data->ResizeLike(d_masked);
    const LeadingEntries entries =
        LeadingBroadcast(masked_sizes.data(), d_masked.dim(), mask_sizes.data(), mask.dim());
    MaskedFill(
        keep, entries, static_cast<int64_t>(type.itemsize()), from, 0,
        d_data->raw_mutable_data(type), AtParallelFor);
    return true;
  }
  CAFFE_ENFORCE(
      !mask_sizes.empty(),
      "BooleanMaskGradient: mask must have at least one dim, but is of shape [].");
  CAFFE_ENFORCE(
      !masked_sizes.empty(),
      "BooleanMaskGradient: d_masked must have at least one dim, but is of shape [].");
  CAFFE_ENFORCE(
      !IsInputOutputAlias(1, 0),
      "BooleanMaskGradient: d_data must not be d_masked itself unless keep_shape is 1.");
  const int64_t n = mask.numel();
  Offsets offsets = OffsetsFor(n);
  MaskedRows masked{keep, false, offsets.data(), 0};
  CountOwned(&masked, 1, n, AtParallelFor);
  CAFFE_ENFORCE(
      masked_sizes[0] == masked.owned,
      "BooleanMaskGradient: d_masked must have one row for each of the ", masked.owned,
      " True of mask, but is of shape ", ShapeName(masked_sizes), ".");
  at::DimVector sizes(mask_sizes);
  sizes.append(masked_sizes.begin() + 1, masked_sizes.end());
  CheckOutputSize("BooleanMaskGradient", "d_data", sizes, type);
  const int64_t row = Product(masked_sizes, 1, d_masked.dim());
  Tensor* const d_data = Output(0);
  d_data->Resize(at::IntArrayRef(sizes));
  ExpandRows(
      &masked, 1, n, RowBytes(n, row, type), &from, 0, d_data->raw_mutable_data(type),
      AtParallelFor);
  return true;
}

void FillBooleanMaskSchema(OpSchema& schema) {
  schema.NumInputs(2)
      .NumOutputs(1, 2)
      .AllowInplace({{0, 0}})
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(static_cast<size_t>(def.output_size()));
        if (ArgumentHelper(def).GetSingleArgument<bool>("keep_shape", false)) {
          out[0] = in[0];
        } else {
          // How many rows are kept is only known when the mask is.
          for (TensorShape& shape : out) shape.set_unknown_shape(true);
        }
        return out;
      })
      .SetDoc(R"DOC(
Keeps the entries of `data` at which `mask` is True, as `data[mask]` does in NumPy. `mask` has the
leading dims of `data`, r >= 1 of them, so that each of its entries stands for one row.

By default what is kept moves together: `masked` has shape `[count of True] + data.shape[r:]`, in
the order of `data`, and `indices`, if asked for, tells where each row was, counted over the
flattened leading dims. With `keep_shape` = 1, `masked` has the shape of `data`, with `fill_val`
where `mask` is False; it may then be `data` itself.

The gradient goes to `data`: rows return to their places, the others get zeros.

Errors: `mask` not bool, or its dims not the leading dims of `data`; `fill_val` without
`keep_shape`, or not representable in the type of `data`; `indices` with `keep_shape`.

Source: Caffe2's BooleanMask (1-D mask), NumPy's boolean indexing.

**Example**

```
workspace.FeedBlob("data", np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32))
workspace.FeedBlob("mask", np.array([True, False, True]))
op = core.CreateOperator("BooleanMask", ["data", "mask"], ["masked", "indices"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("masked").tolist())
print(workspace.FetchBlob("indices").tolist())
op = core.CreateOperator("BooleanMask", ["data", "mask"], ["same"], keep_shape=1)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("same").tolist())
```

**Result**

```
[[1.0, 2.0], [5.0, 6.0]]
[0, 2]
[[1.0, 2.0], [0.0, 0.0], [5.0, 6.0]]
```
)DOC")
      .Arg("keep_shape", "int, 0 or 1 (default 0): 1 keeps the shape of data and fills")
      .Arg("fill_val", "float or int (default 0): what stands where mask is False; with keep_shape")
      .Input(
          0, "data",
          "(Tensor) `[d_0, .., d_n]`, any type; with keep_shape any numeric type or bool")
      .Input(1, "mask", "(Tensor<bool>) `[d_0, .., d_(r-1)]`, r >= 1; True keeps")
      .Output(0, "masked", "(Tensor) rows kept, of data's type")
      .Output(1, "indices", "(Tensor<int64>) `[count of True]`, flat position of each row kept");
}

void FillBooleanMaskGradientSchema(OpSchema& schema) {
  schema.NumInputs(2)
      .NumOutputs(1)
      .AllowInplace({{1, 0}})
      .SetDoc(
          "The gradient of BooleanMask: rows of `d_masked` return to where `mask` is True, "
          "zeros elsewhere.")
      .Arg("keep_shape", "int, 0 or 1 (default 0): as given to BooleanMask")
      .Input(0, "mask", "(Tensor<bool>) the mask of BooleanMask")
      .Input(1, "d_masked", "(Tensor) gradient of masked, any numeric type or bool")
      .Output(0, "d_data", "(Tensor) gradient of data, of d_masked's type");
}

}  // namespace mask
}  // namespace caffe2
