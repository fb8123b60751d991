#include "operators/random_mask_op.h"

#include <algorithm>
#include <string>

#include "operators/arguments.h"
#include "operators/check.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

RandomMaskOp::Unit RandomMaskOp::ReadUnit(const OperatorDef& def) {
  const std::string unit = Arguments(def).String("unit", "element");
  if (unit == "element") return Unit::kElement;
  if (unit == "row") return Unit::kRow;
  if (unit == "span") return Unit::kSpan;
  CAFFE_THROW("RandomMask: argument unit must be element, row or span, but is '", unit, "'.");
}

RandomMaskOp::RandomMaskOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(def, ws), unit_(ReadUnit(def)) {
  const Arguments arguments(def);
  const Number p = arguments.Float("p", 0.15F);
  p_ = p.AsDouble();
  CAFFE_ENFORCE(
      p_ >= 0 && p_ <= 1, "RandomMask: argument p must be in [0, 1], but is ", ToString(p), ".");
  CAFFE_ENFORCE(
      unit_ == Unit::kSpan || !arguments.Has("span_length"),
      "RandomMask: argument span_length goes with unit = span, but unit is ",
      arguments.String("unit", "element"), ".");
  span_length_ = arguments.Int("span_length", 10);
  CAFFE_ENFORCE(
      span_length_ >= 1, "RandomMask: argument span_length must be at least 1, but is ",
      span_length_, ".");
  const bool has_lengths = def.input_size() > 1;
  CAFFE_ENFORCE(
      unit_ != Unit::kRow || !(has_lengths || arguments.Has("min_masked")),
      "RandomMask: lengths and argument min_masked go with unit = element or span, but unit is "
      "row.");
  min_masked_ = arguments.Int("min_masked", 0);
  CAFFE_ENFORCE(
      min_masked_ >= 0, "RandomMask: argument min_masked must not be negative, but is ",
      min_masked_, ".");
}

// The lengths of rows, checked, where there are any, and what the argument says.
RowLimits RandomMaskOp::Limits() {
  RowLimits limits;
  limits.least = min_masked_;
  if (InputSize() == 1) return limits;
  const at::IntArrayRef sizes = Input(0).sizes();
  const Tensor& lengths = Input(1);
  const bool is_int32 = lengths.IsType<int32_t>();
  CAFFE_ENFORCE(
      is_int32 || lengths.IsType<int64_t>(),
      "RandomMask: lengths must be of type int32 or int64, but is ", TypeName(lengths.dtype()),
      ".");
  const auto last = static_cast<int64_t>(sizes.size()) - 1;
  CAFFE_ENFORCE(
      lengths.dim() <= last &&
          std::equal(lengths.sizes().begin(), lengths.sizes().end(), sizes.begin()),
      "RandomMask: lengths must have the shape of leading dims of X, ", ShapeName(sizes),
      ", before its last, but is of shape ", ShapeName(lengths.sizes()), ".");
  lengths.raw_data();  // throws where a shape was set but nothing written
  const RowIndex index{Product(sizes, lengths.dim(), last), std::max<int64_t>(lengths.numel(), 1)};
  if (is_int32) {
    limits.real.Add(SequenceFunctor<int32_t>{lengths.data<int32_t>(), index});
  } else {
    limits.real.Add(SequenceFunctor<int64_t>{lengths.data<int64_t>(), index});
  }
  return limits;
}

bool RandomMaskOp::RunOnDevice() {
  const Tensor& x = Input(0);
  const RowLimits limits = Limits();
  const RandomStream stream{context_.RandSeed(), run_++};
  auto* const mask = Output(0, x.sizes(), at::dtype<bool>())->mutable_data<bool>();
  const int64_t size = x.numel();
  if (size == 0) return true;
  const int64_t columns = x.dim() == 0 ? 1 : x.size(x.dim() - 1);
  const int64_t rows = size / columns;
  switch (unit_) {
    case Unit::kElement:
      RandomMaskElements(p_, size, stream, mask, AtParallelFor);
      if (InputSize() > 1 || min_masked_ > 0) {
        LimitElements(limits, rows, columns, stream, mask, AtParallelFor);
      }
      break;
    case Unit::kRow: RandomMaskRows(p_, rows, columns, stream, mask, AtParallelFor); break;
    case Unit::kSpan:
      RandomMaskSpans(p_, span_length_, rows, columns, stream, mask, AtParallelFor, limits);
      break;
  }
  return true;
}

void FillRandomMaskSchema(OpSchema& schema) {
  schema.NumInputs(1, 2)
      .NumOutputs(1)
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out{in[0]};
        out[0].set_data_type(TensorProto::BOOL);
        return out;
      })
      .SetDoc(R"DOC(
Draws a mask of the shape of `X`, in which each entry is False, that is masked, with probability
`p`: data augmentation, and what a model that fills gaps is trained on. Only the shape of `X` is
read.

| unit | what is masked together |
| --- | --- |
| element | each entry by itself |
| row | all entries along the last axis |
| span | spans of `span_length` entries along the last axis, cut where a row ends |

Spans begin at each entry of a row, and at the `span_length` - 1 places before it, with one
probability, 1 - (1 - p)^(1 / span_length). They may overlap and follow one another, so that each
entry, the first and last of a row too, is in one or more of them with probability p.

With `lengths`, entries from a row's length on are padding: they stay True, and spans are cut where
it begins; what stands before is drawn as without. A length beyond the row is all of it, one below 1
none. With `min_masked`, each row has that many elements, or spans, or all that it can have: to rows
that have drawn fewer more are added, anywhere with one probability, spans whole and where none
begins. So a row that is shorter than a span may have none.

Numbers come from the `random_seed` of the device option: with one seed an operator draws the same
sequence in every process, whatever the number of threads, and so do others with that seed; 0 is a
seed like any other. Without one each operator has a seed of its own, another each time. Each run
draws anew.

There is no gradient.

Errors: `p` not in [0, 1]; `unit` none of these; `span_length` less than 1, or without unit = span;
`lengths` not int32 or int64, or not of the shape of leading dims; `min_masked` negative; one of the
two with unit = row.

Source: Devlin et al. 2019 (elements), Park et al. 2019 and Baevski et al. 2020 (spans); min_masks
and the padding of wav2vec 2.0 in fairseq and transformers.

**Example**

```
workspace.FeedBlob("X", np.zeros((2, 1000), dtype=np.float32))
op = core.CreateOperator("RandomMask", ["X"], ["mask"], p=1.0)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("mask").any())
op = core.CreateOperator("RandomMask", ["X"], ["mask"], p=0.5, unit="row")
workspace.RunOperatorOnce(op)
print([len(np.unique(row)) for row in workspace.FetchBlob("mask")])
```

**Result**

```
False
[1, 1]
```
)DOC")
      .Arg("p", "float of [0, 1] (default 0.15): probability of False")
      .Arg("unit", "string (default element): element, row or span")
      .Arg("span_length", "int (default 10): entries of a span; with unit = span")
      .Arg("min_masked", "int (default 0): fewest elements or spans that a row is masked of")
      .Input(0, "X", "(Tensor) of any shape and type")
      .Input(
          1, "lengths",
          "(Tensor<int32 or int64>) leading dims of X, before its last; may be left out")
      .Output(0, "mask", "(Tensor<bool>) of X's shape");
}

}  // namespace mask
}  // namespace caffe2
