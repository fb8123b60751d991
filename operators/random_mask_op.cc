#include "operators/random_mask_op.h"

#include "operators/arguments.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

RandomMaskContract ReadRandomMask(const OperatorDef& def) {
  const Arguments arguments(def);
  RandomMaskOptions options;
  options.p = arguments.OptionalNumber("p").value_or(options.p);
  options.unit = arguments.String("unit", "element");
  options.span_length = arguments.OptionalInt("span_length");
  options.min_masked = arguments.OptionalInt("min_masked");
  return Checked([&] { return RandomMaskContract("RandomMask", options, def.input_size() > 1); });
}

}  // namespace

RandomMaskOp::RandomMaskOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(def, ws), contract_(ReadRandomMask(def)) {}

bool RandomMaskOp::RunOnDevice() {
  return Checked([this] {
    const Sizes sizes = SizesOf(0);
    TensorView lengths;
    if (InputSize() > 1) lengths = View(1);
    const RowLimits limits = contract_.Limits(sizes, InputSize() > 1 ? &lengths : nullptr);
    const RandomStream stream{context_.RandSeed(), run_++};
    auto* const mask = static_cast<bool*>(Make(0, sizes, TypeMeta::Make<bool>()));
    contract_.Draw(sizes, limits, stream, mask, AtParallelFor);
    return true;
  });
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
