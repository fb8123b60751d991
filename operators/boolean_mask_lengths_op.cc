#include "operators/boolean_mask_lengths_op.h"

#include <limits>

#include "kernels/boolean_mask_lengths.h"
#include "operators/parallel.h"
#include "operators/segment_lengths.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

bool BooleanMaskLengthsOp::RunOnDevice() {
  const Tensor& lengths = Input(0);
  const Tensor& mask = Input(1);
  MaskData("BooleanMaskLengths", "mask", mask);
  CAFFE_ENFORCE(
      mask.dim() >= 1, "BooleanMaskLengths: mask must have at least one dim, but is of shape [].");
  if (mask.dim() > 1) {
    const bool is_int64 = lengths.dtype().Match<int64_t>();
    return is_int64 ? CountRows<int64_t>(lengths, mask) : CountRows<int32_t>(lengths, mask);
  }
  const bool is_int32 = IsInt32("BooleanMaskLengths", lengths);
  return is_int32 ? CountSegments<int32_t>(lengths, mask) : CountSegments<int64_t>(lengths, mask);
}

template <typename Index>
bool BooleanMaskLengthsOp::CountSegments(const Tensor& lengths, const Tensor& mask) {
  SegmentTable table;
  CheckSegmentLengths<Index>("BooleanMaskLengths", lengths, mask.numel(), &table);
  Tensor* const counts = Output(0, lengths.sizes(), at::dtype<Index>());
  CountTrueInSegments(
      mask.data<bool>(), mask.numel(), lengths.data<Index>(), lengths.numel(), table,
      counts->mutable_data<Index>(), /*offsets=*/nullptr, AtParallelFor);
  return true;
}

template <typename Index>
bool BooleanMaskLengthsOp::CountRows(const Tensor& rows, const Tensor& mask) {
  CAFFE_ENFORCE(
      rows.dim() >= 1 && rows.size(0) == mask.size(0),
      "BooleanMaskLengths: with a mask of 2 or more dims, input 0 must have the mask's first dim, "
      "but is of shape ",
      ShapeName(rows.sizes()), " and mask of shape ", ShapeName(mask.sizes()), ".");
  const int64_t columns = Product(mask.sizes(), 1, mask.dim());
  CAFFE_ENFORCE(
      columns <= int64_t{std::numeric_limits<Index>::max()},
      "BooleanMaskLengths: a row of mask has ", columns,
      " entries, more than int32 counts; give an int64 input 0.");
  // Rows without entries take no memory, so that there may be more than counts have room for.
  CheckOutputSize("BooleanMaskLengths", "masked_lengths", {mask.size(0)}, TypeMeta::Make<Index>());
  Tensor* const counts = Output(0, {mask.size(0)}, at::dtype<Index>());
  CountTrueInRows(
      mask.data<bool>(), mask.size(0), columns, counts->mutable_data<Index>(), AtParallelFor);
  return true;
}

void FillBooleanMaskLengthsSchema(OpSchema& schema) {
  schema.NumInputs(2)
      .NumOutputs(1)
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(1);
        out[0].set_data_type(
            in[0].data_type() == TensorProto::INT64 ? TensorProto::INT64 : TensorProto::INT32);
        // With a mask of rows the mask tells, else the lengths; either may be known alone.
        const bool rows = !in[1].unknown_shape() && in[1].dims_size() > 1;
        const TensorShape& told = rows ? in[1] : in[0];
        if (told.unknown_shape() || told.dims_size() == 0) {
          out[0].set_unknown_shape(true);
        } else {
          out[0].add_dims(told.dims(0));
        }
        return out;
      })
      .SetDoc(R"DOC(
Counts what a mask keeps of each segment, so that a ragged tensor stays ragged after BooleanMask.

With a 1-D `mask`, `lengths` `[n]` cut it into n segments that follow one another;
`masked_lengths[i]` is the count of True in segment i. With a `mask` of two or more dims, the
segments are its rows: `masked_lengths[i]` is the count of True in `mask[i]`, and the first input may
be any tensor with the mask's first dim (the data that is masked, for one).

Errors: `mask` not bool; `lengths` not int32 or int64, not 1-D, negative, or not adding up to the size
of `mask`; with rows, first dims that differ.

Source: Caffe2's BooleanMaskLengths; NumPy's `mask.sum(axis=1)`.

**Example**

```
workspace.FeedBlob("lengths", np.array([1, 3, 2], dtype=np.int32))
workspace.FeedBlob("mask", np.array([False, True, True, False, True, True]))
op = core.CreateOperator("BooleanMaskLengths", ["lengths", "mask"], ["masked_lengths"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("masked_lengths").tolist())
```

**Result**

```
[0, 2, 2]
```
)DOC")
      .Input(
          0, "lengths",
          "(Tensor<int32 or int64>) `[n]`, entries of each segment; any tensor `[N, ..]` where "
          "mask has rows")
      .Input(1, "mask", "(Tensor<bool>) `[sum of lengths]`, or `[N, ..]`")
      .Output(
          0, "masked_lengths",
          "(Tensor) `[n]` or `[N]`, of lengths' type; int32 where that is neither int32 nor int64");
}

}  // namespace mask
}  // namespace caffe2
