#include "operators/boolean_mask_lengths_op.h"

#include "kernels/boolean_mask_lengths.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

bool BooleanMaskLengthsOp::RunOnDevice() {
  return Checked([this] {
    const CountedMask counted = BindBooleanMaskLengths("BooleanMaskLengths", Shape(0), View(1));
    return counted.type == ElementType::kInt32 ? DoRunWithType<int32_t>(counted)
                                               : DoRunWithType<int64_t>(counted);
  });
}

template <typename Index>
bool BooleanMaskLengthsOp::DoRunWithType(const CountedMask& counted) {
  const TypeMeta type = TypeMeta::Make<Index>();
  if (counted.by_rows) {
    const Sizes rows = SizesOf(1).First(1);
    CountTrueInRows(
        counted.mask, rows[0], counted.columns, static_cast<Index*>(Make(0, rows, type)),
        AtParallelFor);
    return true;
  }
  const TensorView lengths = View(0);
  SegmentTable table;
  CheckSegmentLengths<Index>("BooleanMaskLengths", lengths, counted.columns, &table, AtParallelFor);
  CountTrueInSegments(
      counted.mask, counted.columns, lengths.As<Index>(), lengths.numel(), table,
      static_cast<Index*>(Make(0, lengths.sizes, type)), /*offsets=*/nullptr, AtParallelFor);
  return true;
}

void FillBooleanMaskLengthsSchema(OpSchema& schema) {
  schema.NumInputs(2)
      .NumOutputs(1)
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(1);
        out[0].set_data_type(
            in[0].data_type() == TensorProto::INT64 ? TensorProto::INT64 : TensorProto::INT32);
        // What is unknown has no dims; either input may be known alone.
        SetDims(MaskedLengthsSizes(DimsOf(in[0]), DimsOf(in[1])), &out[0]);
        out[0].set_unknown_shape(out[0].dims_size() == 0);
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
