#include "operators/boolean_mask_jagged_op.h"

#include "contracts/boolean_mask_jagged.h"
#include "contracts/boolean_mask_lengths.h"
#include "contracts/check.h"
#include "kernels/boolean_mask.h"
#include "operators/chunk_offsets.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

bool BooleanMaskJaggedOp::RunOnDevice() {
  return Checked([this] {
    const bool is_int32 = IsInt32("BooleanMaskJagged", "lengths", View(1));
    return is_int32 ? DoRunWithType<int32_t>() : DoRunWithType<int64_t>();
  });
}

template <typename Index>
bool BooleanMaskJaggedOp::DoRunWithType() {
  const TensorView values = View(0);
  const TensorView lengths = View(1);
  const RowMask mask = BindBooleanMaskJagged("BooleanMaskJagged", values, View(2));
  SegmentTable table;
  CheckSegmentLengths<Index>("BooleanMaskJagged", lengths, mask.entries, &table, AtParallelFor);
  Offsets offsets = OffsetsFor(mask.entries);
  auto* const counts = static_cast<Index*>(MakeLike(1, 1));
  // Counting the segments also gives where the rows of each chunk go.
  const int64_t kept = CountTrueInSegments(
      mask.keep, mask.entries, lengths.As<Index>(), lengths.numel(), table, counts, offsets.data(),
      AtParallelFor);
  void* const masked = Make(0, MaskedSizes(mask, kept), Input(0).dtype());
  CompressRows(
      mask.keep, mask.entries, offsets.data(), RowBytes(kept, mask.row, values.element_bytes),
      values.data, masked, AtParallelFor);
  return true;
}

void FillBooleanMaskJaggedSchema(OpSchema& schema) {
  schema.NumInputs(3)
      .NumOutputs(2)
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(2);
        out[0].set_unknown_shape(true);
        out[1] = in[1];
        return out;
      })
      .SetDoc(R"DOC(
Masks ragged rows: `values` `[T, ..]` are rows of B segments that follow one another, `lengths` `[B]`
says how long each is, `mask` `[T]` which of their rows stay. What is kept of each segment moves
together: BooleanMask of the values and BooleanMaskLengths of the lengths in one operator.

The gradient goes to `values`.

Errors: `mask` not bool, not 1-D, or not one entry for each row of `values`; `lengths` not int32 or
int64, not 1-D, negative, or not adding up to T.

Source: FBGEMM's masked_select_jagged_1d, for rows of any shape.

**Example**

```
workspace.FeedBlob("values", np.array([1, 2, 3, 4, 5, 6], dtype=np.float32))
workspace.FeedBlob("lengths", np.array([1, 3, 2], dtype=np.int32))
workspace.FeedBlob("mask", np.array([False, True, True, False, True, True]))
op = core.CreateOperator(
    "BooleanMaskJagged", ["values", "lengths", "mask"], ["masked_values", "masked_lengths"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("masked_values").tolist())
print(workspace.FetchBlob("masked_lengths").tolist())
```

**Result**

```
[2.0, 3.0, 5.0, 6.0]
[0, 2, 2]
```
)DOC")
      .Input(0, "values", "(Tensor) `[T, ..]`, any numeric type or bool")
      .Input(1, "lengths", "(Tensor<int32 or int64>) `[B]`, rows of each segment, adding up to T")
      .Input(2, "mask", "(Tensor<bool>) `[T]`; True keeps")
      .Output(0, "masked_values", "(Tensor) `[count of True, ..]`, of values' type")
      .Output(1, "masked_lengths", "(Tensor) `[B]`, rows kept of each segment, of lengths' type");
}

}  // namespace mask
}  // namespace caffe2
