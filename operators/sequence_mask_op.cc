#include "operators/sequence_mask_op.h"

#include <array>
#include <string>

#include "kernels/masked_fill.h"
#include "kernels/sequence_mask.h"
#include "operators/arguments.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

SequenceMaskContract ReadSequenceMask(const OperatorDef& def) {
  const Arguments arguments(def);
  SequenceMaskOptions options;
  options.shape = ReadShapeOptions(def);
  options.axis = arguments.Int("axis", options.axis);
  options.batch = arguments.OptionalInt("batch");
  options.repeat_from_axis = arguments.OptionalInt("repeat_from_axis");
  options.lengths_of = arguments.String("lengths_of", "rows");
  options.grad = arguments.Bool("grad", false);
  options.fill_val = arguments.OptionalNumber("fill_val");
  return Checked([&] { return SequenceMaskContract("SequenceMask", options); });
}

[[noreturn]] void ThrowInputs(
    const OperatorDef& def, const SequenceMaskContract& contract, int inputs) {
  std::string names = "data";
  if (contract.by_mask()) {
    names += ", mask";
  } else {
    for (const RowInput input : contract.row_inputs()) names += std::string(", ") + NameOf(input);
  }
  CAFFE_THROW(
      "SequenceMask: mode '", std::string(Arguments(def).String("mode", "")), "' takes ", inputs,
      inputs == 1 ? " input (" : " inputs (", names, "), but there ",
      def.input_size() == 1 ? "is " : "are ", def.input_size(), ".");
}

}  // namespace

SequenceMaskOp::SequenceMaskOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(def, ws), contract_(ReadSequenceMask(def)) {
  const int inputs =
      1 + (contract_.by_mask() ? 1 : static_cast<int>(contract_.row_inputs().size()));
  // Stock nets may name a second input where a triangle reads none.
  const bool fits = def.input_size() == inputs || (inputs == 1 && def.input_size() == 2);
  if (!fits) ThrowInputs(def, contract_, inputs);
}

bool SequenceMaskOp::RunOnDevice() {
  return Checked([this] { return contract_.by_mask() ? MaskByMask() : MaskByShape(); });
}

bool SequenceMaskOp::MaskByShape() {
  const TensorView data = View(0);
  const uint64_t fill = contract_.Fill(data);
  int next = 1;
  std::array<TensorView, kRowInputs> inputs;
  for (const RowInput input : contract_.row_inputs()) inputs[input] = View(next++);
  const SequenceMaskContract::Bound bound = contract_.BindShape(data, inputs);
  RepeatedMask(
      bound.left, bound.masked, bound.repeated, data.element_bytes, data.data, bound.functor, fill,
      MakeLike(0, 0), AtParallelFor);
  return true;
}

bool SequenceMaskOp::MaskByMask() {
  const TensorView data = View(0);
  const uint64_t fill = contract_.Fill(data);
  const TensorView mask = View(1);
  const LeadingEntries at = contract_.BindMask(data, mask);
  MaskedFill(
      mask.As<bool>(), at, data.element_bytes, data.data, fill, MakeLike(0, 0), AtParallelFor);
  return true;
}

void FillSequenceMaskSchema(OpSchema& schema) {
  schema.NumInputs(1, 4)
      .NumOutputs(1)
      .AllowInplace({{0, 0}})
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        return std::vector<TensorShape>{in[0]};
      })
      .SetDoc(WithShapes(R"DOC(
Fills what a mask excludes with `fill_val`, as attention does before its softmax, and leaves the rest.

The mask is a matrix. Its columns are the dims of `data` from `axis` on, flattened, its rows the dims
before `axis`. With `batch`, the dims up to and including it number matrices that are masked alike,
and the rows are those between; **without `batch` all dims before `axis` are rows**, so that scores of
shape `[B, H, L, L]` need `axis` = 3 and `batch` = 1. With `repeat_from_axis`, columns are the dims from
`axis` up to it, and each covers all dims from there on; where it comes before `axis` by dims of 1, it
means `axis`.

`mode` says what is kept of row i, by column j; the rest is filled:

| mode | kept where | input |
| --- | --- | --- |
{shapes}
| mask | mask is True | mask |

The triangles are named for what they fill. Shapes joined with `+` fill what any of them fills:
"sequence+upper" is causal and padded. Where several inputs are read, they come in the order lengths,
centers, left_pad.

`lengths`, `centers` and `left_pad` have one entry for each row (rows between `batch` and `axis`, if
there is a batch), or the shape of the leading dims of `data`, each entry for all rows under it:
`[B]` for `[B, H, L, L]`. With `batch` this second form must be asked for by `lengths_of` = "batch".
A length is the column where a row ends: one beyond the columns keeps them all, one below 1 none. A
`left_pad` is the column where a row begins: one below 1 keeps all columns, one beyond them none. So
"sequence+left_pad" keeps columns from `left_pad` to `lengths`.

`mask` is aligned to the leading dims of `data`, or has 1 in their place; its entries cover the
dims behind. `fill_val` is then 0 by default.

`output` may be `data`. The gradient goes to `data` and is 0 where it was filled.

Errors: a mode that is not one of these; `axis`, `batch` or `repeat_from_axis` out of range or
order; a negative radius; lengths, centers or left_pad that are missing, not int32 or int64, too few
or too many; a mask that is not bool or not aligned; a `fill_val` that the type of `data` cannot
hold.

Source: Caffe2's SequenceMask, whose documentation has the triangles the wrong way round; NumPy's
`numpy.tril` and `numpy.triu` (diagonal); torch's `masked_fill` (mask); flash-attention's
`leftpad_k` (left_pad).

**Example**

```
workspace.FeedBlob("scores", np.ones((2, 3), dtype=np.float32))
workspace.FeedBlob("lengths", np.array([1, 3], dtype=np.int32))
op = core.CreateOperator(
    "SequenceMask", ["scores", "lengths"], ["padded"], mode="sequence", axis=1, fill_val=0.0)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("padded").tolist())
op = core.CreateOperator("SequenceMask", ["scores"], ["causal"], mode="upper", axis=1)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("causal").tolist())
```

**Result**

```
[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
[[1.0, -inf, -inf], [1.0, 1.0, -inf]]
```
)DOC"))
      .Arg("mode", WithShapes("string: mask, or {names}, joined by '+'"))
      .Arg("axis", "int (default 1): first dim of the columns; negative counts from the back")
      .Arg("batch", "int: last dim of the batch, before axis; without it there is one matrix")
      .Arg("repeat_from_axis", "int: first dim that a column covers, from axis on")
      .Arg("radius", "int (default 10): columns kept on each side of a window's center")
      .Arg("diagonal", "int (default 0): moves the boundary of a triangle to the right")
      .Arg(
          "lengths_of",
          "string (default rows): rows, or batch for lengths, centers and left_pad by leading dims")
      .Arg("fill_val", "float or int (default -inf; 0 with mode = mask): what stands where masked")
      .Arg("grad", "int, 0 or 1 (default 0): fill with 0, as the gradient does")
      .Input(0, "data", "(Tensor) any shape, any numeric type or bool")
      .Input(
          1, "lengths",
          "(Tensor<int32 or int64>) the first of lengths, centers and left_pad that mode reads; "
          "with mode = mask (Tensor<bool>) the mask")
      .Input(
          2, "centers", "(Tensor<int32 or int64>) the second, where mode joins two that read one")
      .Input(3, "left_pad", "(Tensor<int32 or int64>) the third, where mode joins all three")
      .Output(0, "output", "(Tensor) of data's shape and type");
}

}  // namespace mask
}  // namespace caffe2
