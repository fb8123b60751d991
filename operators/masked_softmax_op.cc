#include "operators/masked_softmax_op.h"

#include <string>

#include "kernels/fill.h"
#include "operators/arguments.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

SoftmaxContract ReadSoftmax(const OperatorDef& def, const char* op) {
  SoftmaxOptions options;
  options.scores = ReadScoreOptions(def);
  options.axis = Arguments(def).OptionalInt("axis");
  options.log = Arguments(def).Bool("log", false);
  return Checked([&] { return SoftmaxContract(op, options); });
}

}  // namespace

MaskedSoftmaxOp::MaskedSoftmaxOp(const OperatorDef& def, Workspace* ws)
    : ScoreOperator(WithDistinctOutputs(def), ws), contract_(ReadSoftmax(def, "MaskedSoftmax")) {
  CheckScoreInputs(def, contract_.scores(), "X", 1);
}

bool MaskedSoftmaxOp::RunOnDevice() {
  return Checked([this] { return Softmax(); });
}

bool MaskedSoftmaxOp::Softmax() {
  const TensorView x = View(0);
  const ScoreInputs inputs = Views(contract_.scores(), 1);
  const bool has_lse = OutputSize() > 1;
  const SoftmaxContract::Bound bound = contract_.Bind(x, inputs, has_lse);
  void* lse = nullptr;
  if (has_lse) lse = Make(1, LogSumExpSizes(x.sizes), MetaOf(WideOf(bound.scores.type)));
  MaskedSoftmax(
      bound.scores, bound.mask, contract_.scores().empty_row(), contract_.form(), MakeLike(0, 0),
      lse, AtParallelFor);
  return true;
}

MaskedSoftmaxGradientOp::MaskedSoftmaxGradientOp(const OperatorDef& def, Workspace* ws)
    : ScoreOperator(WithDistinctOutputs(def), ws),
      contract_(ReadSoftmax(def, "MaskedSoftmaxGradient")),
      has_d_y_(Arguments(def).Bool("has_d_y", true)),
      has_d_lse_(Arguments(def).Bool("has_d_lse", false)) {
  std::string names = "Y";
  int count = 1;
  const auto add = [&](bool there, const char* name) {
    if (!there) return;
    names += name;
    ++count;
  };
  add(has_d_y_, ", dY");
  add(has_d_lse_, ", dLSE");
  add(contract_.gradient_takes_x(), ", X");
  CheckScoreInputs(def, contract_.scores(), names.c_str(), count);
  CAFFE_ENFORCE(
      def.output_size() == 1 || contract_.scores().has_bias(),
      "MaskedSoftmaxGradient: without a bias it has 1 output, but there are ", def.output_size(),
      ".");
  // The schema lets output 0 be input 1, which need not be dY.
  CAFFE_ENFORCE(
      has_d_y_ || def.output(0) != def.input(1),
      "MaskedSoftmaxGradient: without a dY dX must be another blob than input 1, but both are '",
      def.output(0), "'.");
}

bool MaskedSoftmaxGradientOp::RunOnDevice() {
  return Checked([this] { return Gradient(); });
}

bool MaskedSoftmaxGradientOp::Gradient() {
  int next = 0;
  SoftmaxContract::GradientInputs inputs;
  inputs.y = View(next++);
  TensorView d_y;
  TensorView d_lse;
  TensorView x;
  if (has_d_y_) {
    d_y = View(next++);
    inputs.d_y = &d_y;
  }
  if (has_d_lse_) {
    d_lse = View(next++);
    inputs.d_lse = &d_lse;
  }
  if (contract_.gradient_takes_x()) {
    x = View(next++);
    inputs.x = &x;
  }
  inputs.scores = Views(contract_.scores(), next);
  const SoftmaxContract::Bound bound = contract_.BindGradient(inputs);
  SoftmaxOutputs outputs{contract_.form(), inputs.y.data, d_y.data, d_lse.data};
  void* const d_x = MakeLike(0, 0);
  if (!has_d_y_) {
    // A gradient of zeros, which the kernel may overwrite.
    FillSpan(0, inputs.y.numel() * inputs.y.element_bytes, static_cast<uint8_t*>(d_x));
    outputs.d_y = d_x;
  }
  // The bias is the last input.
  void* const d_bias = OutputSize() > 1 ? MakeLike(1, InputSize() - 1) : nullptr;
  MaskedSoftmaxGradient(bound.scores, bound.mask, outputs, d_x, d_bias, AtParallelFor);
  return true;
}

void FillMaskedSoftmaxSchema(OpSchema& schema) {
  schema.NumInputs(1, 6)
      .NumOutputs(1, 2)
      .AllowInplace({{0, 0}})
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(static_cast<size_t>(def.output_size()), in[0]);
        if (out.size() > 1) {
          SetDims(LogSumExpSizes(DimsOf(in[0])), &out[1]);
          if (out[1].data_type() != TensorProto::DOUBLE) out[1].set_data_type(TensorProto::FLOAT);
        }
        return out;
      })
      .SetDoc(WithShapes(R"DOC(
Softmax over the last axis of X, of what a mask keeps: `Y[.., j]` is exp(s_j) divided by the sum of
exp(s) over the kept entries of the row, with scores s = scale * X + bias. Masked entries are exactly
0, and nothing that is masked, NaN and infinity included, has any effect. The work falls with what is
kept.

An entry is kept where all of these keep it:

- `mode`, one or more of these joined by `+`, for entry j of the row at position i of the axis before
  the last (every earlier axis is batch):

| mode | kept where | input |
| --- | --- | --- |
{shapes}

- `window_left` and `window_right`: j from i - window_left to i + window_right;
- `mask`: True.

Inputs behind X come in the order lengths, centers, left_pad, mask, bias, each where `mode`,
`has_mask` or `has_bias` specifies it. Lengths, centers and left_pad have the shape of any leading
dims of X before its last and serve all rows under them, `[B]` for scores of `[B, H, L, L]`, or are
a vector of one for each row, `[B * H * L]`, as stock SequenceMask has them. A length is where a row
ends and a left_pad where it begins: "sequence+left_pad" keeps entries from left_pad to lengths.
Mask and bias have any shape that NumPy would broadcast to that of X; they are never expanded.

A row of which nothing is kept, or whose kept scores are all -inf, becomes what `empty_row` says:
zeros, NaN, or 1 / n for all its n entries. Its gradient is 0. A kept NaN or +inf makes NaN of all
that its row keeps.

With `log`, Y is the logarithm of all this: s_j - max - log(sum), -inf where masked, and of an empty
row -inf, NaN or -log(n). LSE, if it is named, is the log-sum-exp of each row's kept scores, -inf of
an empty row and NaN where the row has NaN.

Float and double are computed as they are, 16-bit types in float. The result is within 2 ulp (of
float) of the exact softmax of the scores, and rounded to the type of X; a logarithm is within 2 ulp
or 2^-24. Y may be X.

The gradient goes to X and to bias, from Y, LSE or both. What Y and its gradient are where masked does
not matter.

Errors: an X without dims or of another type; an `axis` that is not the last; a number of inputs
that does not fit `mode`, `has_mask` and `has_bias`; an unknown mode or `empty_row`; a negative
radius; a side of the window below -1; a `scale` that is not finite; lengths, centers or left_pad
not int32 or int64, or not of the shape of leading dims, nor one for each row; a mask that is not
bool, a bias that is not of the type of X, or either of a shape that does not broadcast.

Source: the softmax of Vaswani et al., "Attention Is All You Need" (2017), and Caffe2's SequenceMask
followed by its Softmax, which this does in one pass.

**Example**

```
workspace.FeedBlob("scores", np.log(np.array([[1, 3, 4], [1, 1, 2], [2, 3, 5]], dtype=np.float32)))
workspace.FeedBlob("lengths", np.array([2, 3, 0], dtype=np.int32))
op = core.CreateOperator("MaskedSoftmax", ["scores", "lengths"], ["padded"], mode="sequence")
workspace.RunOperatorOnce(op)
print(np.round(workspace.FetchBlob("padded").astype(float), 6).tolist())
op = core.CreateOperator("MaskedSoftmax", ["scores"], ["causal"], mode="upper")
workspace.RunOperatorOnce(op)
print(np.round(workspace.FetchBlob("causal").astype(float), 6).tolist())
```

**Result**

```
[[0.25, 0.75, 0.0], [0.25, 0.25, 0.5], [0.0, 0.0, 0.0]]
[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
```
)DOC"))
      .Arg("mode", WithShapes("string: none of, or some of {names}, joined by '+'"))
      .Arg("radius", "int (default 10): entries kept on each side of a window's center")
      .Arg("diagonal", "int (default 0): moves the boundary of a triangle to the right")
      .Arg("window_left", "int (default -1, open): entries kept left of the row's own position")
      .Arg("window_right", "int (default -1, open): entries kept right of the row's own position")
      .Arg("has_mask", "int, 0 or 1 (default 0): there is a mask")
      .Arg("has_bias", "int, 0 or 1 (default 0): there is a bias")
      .Arg("scale", "float (default 1): what X is multiplied by")
      .Arg("empty_row", "string (default zero): zero, nan or uniform")
      .Arg("axis", "int: the last axis of X, if it is given")
      .Arg("log", "int, 0 or 1 (default 0): Y is the logarithm of the softmax")
      .Input(0, "X", "(Tensor<float16, bfloat16, float or double>) `[.., n]`")
      .Input(
          1, "lengths",
          "(Tensor<int32 or int64>) leading dims of X, or one for each row; the first of the "
          "optional inputs that there are")
      .Input(2, "centers", "(Tensor<int32 or int64>) leading dims of X, or one for each row")
      .Input(3, "left_pad", "(Tensor<int32 or int64>) leading dims of X, or one for each row")
      .Input(4, "mask", "(Tensor<bool>) broadcast to X; True keeps")
      .Input(5, "bias", "(Tensor) of the type of X, broadcast to it; added to the scores")
      .Output(0, "Y", "(Tensor) of X's shape and type")
      .Output(
          1, "LSE",
          "(Tensor<float or double>) `[..]`, optional: log-sum-exp of each row; double for double");
}

void FillMaskedSoftmaxGradientSchema(OpSchema& schema) {
  schema.NumInputs(2, 9)
      .NumOutputs(1, 2)
      .AllowInplace({{1, 0}})
      .SetDoc(R"DOC(
The gradient of MaskedSoftmax, made by its gradient maker, to X and to the bias:
dX = scale * Y * (dY - sum of Y dY + dLSE) over what is kept, 0 elsewhere; dbias is the same without
the scale, summed over what each entry of the bias served. With `log`, dX is
scale * (dY - exp(Y) * (sum of dY - dLSE)).

Takes the arguments of MaskedSoftmax. dY and dLSE are there where they have a gradient, X unless
`empty_row` is zero. dX may be dY.
)DOC")
      .Arg("has_d_y", "int, 0 or 1 (default 1): there is a dY")
      .Arg("has_d_lse", "int, 0 or 1 (default 0): there is a dLSE")
      .Input(0, "Y", "(Tensor) output of MaskedSoftmax")
      .Input(1, "dY", "(Tensor) of Y's shape and type")
      .Input(2, "dLSE", "(Tensor<float or double>) of LSE's shape and type")
      .Input(3, "X", "(Tensor) of Y's shape and type; behind it the optional inputs")
      .Input(4, "lengths", "(Tensor<int32 or int64>) as for MaskedSoftmax")
      .Input(5, "centers", "(Tensor<int32 or int64>) as for MaskedSoftmax")
      .Input(6, "left_pad", "(Tensor<int32 or int64>) as for MaskedSoftmax")
      .Input(7, "mask", "(Tensor<bool>) as for MaskedSoftmax")
      .Input(8, "bias", "(Tensor) as for MaskedSoftmax")
      .Output(0, "dX", "(Tensor) of Y's shape and type")
      .Output(1, "dbias", "(Tensor) of the bias's shape and type");
}

}  // namespace mask
}  // namespace caffe2
