#include "operators/sequence_mask_op.h"

#include <algorithm>
#include <array>
#include <limits>
#include <variant>

#include "kernels/fill.h"
#include "kernels/masked_fill.h"
#include "kernels/sequence_mask.h"
#include "operators/check.h"
#include "operators/element_types.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

SequenceMaskOp::SequenceMaskOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(def, ws),
      mode_(Arguments(def).String("mode", "")),
      shape_(
          mode_ == "mask" ? std::nullopt
                          : std::make_optional<MaskShape>(def, MaskShape::Use::kSequenceMask)),
      axis_(Arguments(def).Int("axis", 1)),
      batch_(Arguments(def).OptionalInt("batch")),
      repeat_from_axis_(Arguments(def).OptionalInt("repeat_from_axis")),
      lengths_of_(Arguments(def).String("lengths_of", "rows")),
      grad_(Arguments(def).Bool("grad", false)),
      fill_val_(Arguments(def).Float(
          "fill_val", mode_ == "mask" ? 0.0F : -std::numeric_limits<float>::infinity())) {
  CAFFE_ENFORCE(
      lengths_of_ == "rows" || lengths_of_ == "batch",
      "SequenceMask: argument lengths_of must be rows or batch, but is '", lengths_of_, "'.");
  std::string names = "data";
  int inputs = 1;
  const auto add = [&](const char* name) {
    names += std::string(", ") + name;
    ++inputs;
  };
  if (shape_) {
    for (const RowInput input : shape_->row_inputs()) add(NameOf(input));
  } else {
    add("mask");
  }
  // Stock nets may name a second input where a triangle reads none.
  CAFFE_ENFORCE(
      def.input_size() == inputs || (inputs == 1 && def.input_size() == 2), "SequenceMask: mode '",
      mode_, "' takes ", inputs, inputs == 1 ? " input (" : " inputs (", names, "), but there ",
      def.input_size() == 1 ? "is " : "are ", def.input_size(), ".");
}

bool SequenceMaskOp::RunOnDevice() {
  return DispatchAny(this, Input(0));
}

template <typename T>
bool SequenceMaskOp::DoRunWithType() {
  const uint64_t fill = grad_ ? 0 : FillPattern(ConvertFill<T>("SequenceMask", fill_val_));
  if (shape_) {
    MaskByShape(fill);
  } else {
    MaskByMask(fill);
  }
  return true;
}

bool SequenceMaskOp::DoRunWithOtherType() {
  CAFFE_THROW(
      "SequenceMask: data must be a number or bool, but is of type ", TypeName(Input(0).dtype()),
      ".");
}

// Argument `name`, a dim of data counted from the front or, if negative, the back.
int64_t SequenceMaskOp::Axis(const char* name, int64_t axis) {
  const int64_t rank = Input(0).dim();
  CAFFE_ENFORCE(
      axis >= -rank && axis < rank, "SequenceMask: argument ", name, " must be in [", -rank, ", ",
      rank, ") for data of shape ", ShapeName(Input(0).sizes()), ", but is ", axis, ".");
  return axis < 0 ? axis + rank : axis;
}

// Which entry of a row input belongs to which row; throws where there is not one for
// each.
RowIndex SequenceMaskOp::IndexRows(
    const char* name, const Tensor& index, int64_t axis, int64_t rows) {
  CAFFE_ENFORCE(
      index.IsType<int32_t>() || index.IsType<int64_t>(), "SequenceMask: ", name,
      " must be of type int32 or int64, but is ", TypeName(index.dtype()), ".");
  index.raw_data();  // throws where a shape was set but nothing written
  const auto data = Input(0).sizes();
  const bool by_rows = lengths_of_ == "rows";
  if (by_rows && index.numel() == rows) return {1, rows};
  const bool prefix =
      index.dim() <= axis && std::equal(index.sizes().begin(), index.sizes().end(), data.begin());
  if (prefix && !(by_rows && batch_)) {
    return {Product(data, index.dim(), axis), std::max<int64_t>(index.numel(), 1)};
  }
  if (by_rows && batch_) {
    CAFFE_THROW(
        "SequenceMask: ", name, " must have one entry for each of the ", rows,
        " rows between batch and axis of data, ", ShapeName(data), ", but is of shape ",
        ShapeName(index.sizes()), "; lengths_of = batch is for entries by batch.");
  }
  if (by_rows) {
    CAFFE_THROW(
        "SequenceMask: ", name, " must have one entry for each of the ", rows, " rows of data, ",
        ShapeName(data), " before axis ", axis,
        ", or the shape of its leading dims, but is of shape ", ShapeName(index.sizes()), ".");
  }
  CAFFE_THROW(
      "SequenceMask: with lengths_of = batch ", name,
      " must have the shape of leading dims of data, ", ShapeName(data), ", before axis ", axis,
      ", but is of shape ", ShapeName(index.sizes()), ".");
}

void SequenceMaskOp::MaskByShape(uint64_t fill_pattern) {
  const Tensor& data = Input(0);
  const auto sizes = data.sizes();
  const int64_t axis = Axis("axis", axis_);
  const int64_t batch = batch_ ? Axis("batch", *batch_) : -1;
  CAFFE_ENFORCE(
      batch < axis, "SequenceMask: argument batch must come before axis, but batch is ", batch,
      " and axis is ", axis, ".");
  int64_t repeat_from =
      repeat_from_axis_ ? Axis("repeat_from_axis", *repeat_from_axis_) : data.dim();
  CAFFE_ENFORCE(
      repeat_from >= axis || Product(sizes, repeat_from, axis) == 1,
      "SequenceMask: argument repeat_from_axis must not come before axis, except by dims of 1, but "
      "repeat_from_axis is ",
      repeat_from, " and axis is ", axis, " for data of shape ", ShapeName(sizes), ".");
  repeat_from = std::max(repeat_from, axis);
  const int64_t rows = Product(sizes, batch + 1, axis);

  int next = 1;
  std::array<RowEntries, kRowInputs> entries;
  for (const RowInput input : shape_->row_inputs()) {
    const Tensor& tensor = Input(next++);
    entries[input] = {&tensor, IndexRows(NameOf(input), tensor, axis, rows)};
  }
  const IntersectionFunctor functor = shape_->Functor(RowIndex{1, rows}, entries);

  const void* const from = data.raw_data();
  Tensor* const output = Output(0, sizes, at::dtype(data.dtype()));
  void* const to = output->raw_mutable_data(data.dtype());
  const auto mask = [&](const auto& one) {
    RepeatedMaskWithFunctor(
        Product(sizes, 0, axis), Product(sizes, axis, repeat_from),
        Product(sizes, repeat_from, data.dim()), static_cast<int64_t>(data.itemsize()), from, one,
        fill_pattern, to, AtParallelFor);
  };
  // A single shape is by far the most common: it runs with its own type.
  if (functor.size() == 1) {
    std::visit(mask, functor.part(0));
  } else {
    mask(functor);
  }
}

void SequenceMaskOp::MaskByMask(uint64_t fill_pattern) {
  const Tensor& data = Input(0);
  const Tensor& mask = Input(1);
  const bool* const keep = MaskData("SequenceMask", "mask", mask);
  bool aligned = mask.dim() <= data.dim();
  for (int d = 0; aligned && d < mask.dim(); ++d) {
    aligned = mask.size(d) == 1 || mask.size(d) == data.size(d);
  }
  CAFFE_ENFORCE(
      aligned,
      "SequenceMask: mask must have the leading dims of data, or 1 in their place, but mask is of "
      "shape ",
      ShapeName(mask.sizes()), " and data of shape ", ShapeName(data.sizes()), ".");
  const void* const from = data.raw_data();
  Tensor* const output = Output(0, data.sizes(), at::dtype(data.dtype()));
  const LeadingEntries entries =
      LeadingBroadcast(data.sizes().data(), data.dim(), mask.sizes().data(), mask.dim());
  MaskedFill(
      keep, entries, static_cast<int64_t>(data.itemsize()), from, fill_pattern,
      output->raw_mutable_data(data.dtype()), AtParallelFor);
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
