#include "operators/boolean_mask_op.h"

#include "contracts/broadcast.h"
#include "contracts/check.h"
#include "kernels/boolean_mask.h"
#include "kernels/boolean_unmask.h"
#include "kernels/masked_fill.h"
#include "operators/arguments.h"
#include "operators/chunk_offsets.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

Number ReadFill(const OperatorDef& def, bool keep_shape) {
  const std::optional<Number> fill_val = Arguments(def).OptionalNumber("fill_val");
  Checked([&] { CheckBooleanMaskOptions("BooleanMask", keep_shape, fill_val.has_value()); });
  return fill_val.value_or(RealNumber(0));
}

}  // namespace

BooleanMaskOp::BooleanMaskOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws),
      keep_shape_(Arguments(def).Bool("keep_shape", false)),
      fill_val_(ReadFill(def, keep_shape_)) {
  CAFFE_ENFORCE(
      !keep_shape_ || def.output_size() == 1,
      "BooleanMask: with keep_shape there is 1 output, masked, but ", def.output_size(),
      " are named; indices go with compaction only.");
}

bool BooleanMaskOp::RunOnDevice() {
  return Checked([this] { return keep_shape_ ? KeepShape() : Compact(); });
}

bool BooleanMaskOp::KeepShape() {
  const TensorView data = View(0);
  const TensorView mask = View(1);
  const RowMask rows = BindBooleanMask("BooleanMask", data, mask);
  const uint64_t fill = BooleanMaskFill("BooleanMask", fill_val_, data);
  MaskedFill(
      rows.keep, BroadcastLeading(data.sizes, mask.sizes), data.element_bytes, data.data, fill,
      MakeLike(0, 0), AtParallelFor);
  return true;
}

bool BooleanMaskOp::Compact() {
  const TensorView data = View(0);
  const RowMask mask = BindBooleanMask("BooleanMask", data, View(1));
  CAFFE_ENFORCE(
      !IsInputOutputAlias(0, 0),
      "BooleanMask: masked must not be data itself unless keep_shape is 1.");
  Offsets offsets = OffsetsFor(mask.entries);
  const int64_t kept = ChunkOffsets(mask.keep, mask.entries, offsets.data(), AtParallelFor);
  const TypeMeta type = Input(0).dtype();
  void* const to = Make(0, MaskedSizes(mask, kept), type);
  const int64_t row_bytes = RowBytes(kept, mask.row, data.element_bytes);
  if (data.is_plain) {
    CompressRows(mask.keep, mask.entries, offsets.data(), row_bytes, data.data, to, AtParallelFor);
  } else {
    const auto* const bytes = reinterpret_cast<const uint8_t*>(mask.keep);
    int64_t written = 0;
    for (int64_t i = 0; i < mask.entries; ++i) {
      if (bytes[i] == 0) continue;
      context_.CopyItemsSameDevice(
          type, static_cast<size_t>(Product(mask.row)), data.As<char>() + i * row_bytes,
          static_cast<char*>(to) + written++ * row_bytes);
    }
  }
  if (OutputSize() == 2) {
    auto* const indices = static_cast<int64_t*>(Make(1, Dims{kept}, TypeMeta::Make<int64_t>()));
    CompressIndices(mask.keep, mask.entries, offsets.data(), indices, AtParallelFor);
  }
  return true;
}

BooleanMaskGradientOp::BooleanMaskGradientOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(def, ws), keep_shape_(Arguments(def).Bool("keep_shape", false)) {}

bool BooleanMaskGradientOp::RunOnDevice() {
  return Checked([this] { return Expand(); });
}

// What is not kept gets zeros, which every type has alike: rows move as bytes.
bool BooleanMaskGradientOp::Expand() {
  const TensorView mask = View(0);
  const TensorView d_masked = View(1);
  const RowMask rows = BindBooleanMaskGradient("BooleanMaskGradient", mask, d_masked, keep_shape_);
  if (keep_shape_) {
    MaskedFill(
        rows.keep, BroadcastLeading(d_masked.sizes, mask.sizes), d_masked.element_bytes,
        d_masked.data, 0, MakeLike(0, 1), AtParallelFor);
    return true;
  }
  CAFFE_ENFORCE(
      !IsInputOutputAlias(1, 0),
      "BooleanMaskGradient: d_data must not be d_masked itself unless keep_shape is 1.");
  Offsets offsets = OffsetsFor(rows.entries);
  MaskedRows masked{rows.keep, false, offsets.data(), 0};
  CountOwned(&masked, 1, rows.entries, AtParallelFor);
  const Dims sizes = BooleanMaskGradientSizes("BooleanMaskGradient", mask, d_masked, masked.owned);
  void* const d_data = Make(0, sizes, Input(1).dtype());
  ExpandRows(
      &masked, 1, rows.entries, RowBytes(rows.entries, rows.row, d_masked.element_bytes),
      &d_masked.data, 0, d_data, AtParallelFor);
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
