#include "operators/masked_softmax_op.h"

#include <algorithm>
#include <string>

#include "operators/check.h"
#include "operators/element_types.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

SoftmaxForm ReadForm(const OperatorDef& def) {
  return Arguments(def).Bool("log", false) ? SoftmaxForm::kLog : SoftmaxForm::kPlain;
}

// A tensor of scores as rows of its last dim.
template <typename K>
Scores RowsOf(const char* op, const Tensor& x, double scale) {
  Scores scores{};
  scores.type = RealType(op, "X", x);
  scores.columns = x.sizes().back();
  scores.rows = Product(x.sizes(), 0, x.dim() - 1);
  scores.scale = NumberAs<Wide<K>>(op, "scale", scale);
  return scores;
}

}  // namespace

MaskedSoftmaxOp::MaskedSoftmaxOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws),
      inputs_(def),
      axis_(Arguments(def).OptionalInt("axis")),
      form_(ReadForm(def)) {
  inputs_.CheckInputs(def, "X", 1);
}

bool MaskedSoftmaxOp::RunOnDevice() {
  return DispatchReal(this, Input(0));
}

template <typename T>
bool MaskedSoftmaxOp::DoRunWithType() {
  const Tensor& x = Input(0);
  const auto sizes = x.sizes();
  CAFFE_ENFORCE(x.dim() >= 1, "MaskedSoftmax: X must have at least 1 dim, but has none.");
  CAFFE_ENFORCE(
      !axis_ || *axis_ == -1 || *axis_ == x.dim() - 1,
      "MaskedSoftmax: argument axis must be the last of X, ", x.dim() - 1, " or -1, but is ",
      *axis_, ".");
  const ScoreTensors tensors = inputs_.Tensors(this, 1);
  using K = typename KernelReal<T>::type;
  using W = Wide<K>;
  auto scores = RowsOf<K>("MaskedSoftmax", x, inputs_.scale());
  scores.x = RealData<T>(x);
  const ScoreMask mask = inputs_.Mask(tensors, "X", sizes);
  if (tensors.bias) {
    scores.bias_rows = inputs_.BiasRows(*tensors.bias, "X", sizes, x.dtype());
    scores.bias = RealData<T>(*tensors.bias);
  }
  W* lse = nullptr;
  if (OutputSize() > 1) {
    // X without columns has no entries, however many its rows are.
    const auto rows = sizes.slice(0, sizes.size() - 1);
    CheckOutputSize("MaskedSoftmax", "LSE", rows, TypeMeta::Make<W>());
    lse = Output(1, rows, at::dtype<W>())->template mutable_data<W>();
  }
  Tensor* const y = Output(0, sizes, at::dtype<T>());
  MaskedSoftmax(
      scores, mask, inputs_.empty_row(), form_, MutableRealData<T>(y), lse, AtParallelFor);
  return true;
}

bool MaskedSoftmaxOp::DoRunWithOtherType() {
  ThrowNotReal("MaskedSoftmax", "X", Input(0));
}

MaskedSoftmaxGradientOp::MaskedSoftmaxGradientOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws),
      inputs_(def),
      form_(ReadForm(def)),
      has_d_y_(Arguments(def).Bool("has_d_y", true)),
      has_d_lse_(Arguments(def).Bool("has_d_lse", false)),
      has_x_(inputs_.empty_row() != EmptyRow::kZero),
      first_(1 + (has_d_y_ ? 1 : 0) + (has_d_lse_ ? 1 : 0) + (has_x_ ? 1 : 0)) {
  std::string names = "Y";
  if (has_d_y_) names += ", dY";
  if (has_d_lse_) names += ", dLSE";
  if (has_x_) names += ", X";
  inputs_.CheckInputs(def, names.c_str(), first_);
  CAFFE_ENFORCE(
      def.output_size() == 1 || inputs_.has_bias(),
      "MaskedSoftmaxGradient: without a bias it has 1 output, but there are ", def.output_size(),
      ".");
  // The schema lets output 0 be input 1, which need not be dY.
  CAFFE_ENFORCE(
      has_d_y_ || def.output(0) != def.input(1),
      "MaskedSoftmaxGradient: without a dY dX must be another blob than input 1, but both are '",
      def.output(0), "'.");
}

bool MaskedSoftmaxGradientOp::RunOnDevice() {
  return DispatchReal(this, Input(0));
}

template <typename T>
bool MaskedSoftmaxGradientOp::DoRunWithType() {
  const Tensor& y = Input(0);
  int next = 1;
  const Tensor* const dy = has_d_y_ ? &Input(next++) : nullptr;
  const Tensor* const d_lse = has_d_lse_ ? &Input(next++) : nullptr;
  const Tensor* const x = has_x_ ? &Input(next++) : nullptr;
  const auto sizes = y.sizes();
  CAFFE_ENFORCE(y.dim() >= 1, "MaskedSoftmaxGradient: Y must have at least 1 dim, but has none.");
  if (dy != nullptr) CheckSame("MaskedSoftmaxGradient", "dY", *dy, "Y", y);
  if (x != nullptr) CheckSame("MaskedSoftmaxGradient", "X", *x, "Y", y);
  using K = typename KernelReal<T>::type;
  using W = Wide<K>;
  const auto rows = sizes.slice(0, sizes.size() - 1);
  if (d_lse != nullptr) {
    CAFFE_ENFORCE(
        d_lse->IsType<W>() && d_lse->sizes() == rows,
        "MaskedSoftmaxGradient: dLSE must be of shape ", ShapeName(rows), " and type ",
        TypeName(TypeMeta::Make<W>()), ", but is of shape ", ShapeName(d_lse->sizes()),
        " and type ", TypeName(d_lse->dtype()), ".");
  }
  const ScoreTensors tensors = inputs_.Tensors(this, next);
  auto scores = RowsOf<K>("MaskedSoftmaxGradient", y, inputs_.scale());
  if (x != nullptr) scores.x = RealData<T>(*x);
  const ScoreMask mask = inputs_.Mask(tensors, "Y", sizes);
  if (tensors.bias) {
    scores.bias_rows = inputs_.BiasRows(*tensors.bias, "Y", sizes, y.dtype());
    scores.bias = RealData<T>(*tensors.bias);
  }
  SoftmaxOutputs outputs{form_, RealData<T>(y), nullptr};
  if (dy != nullptr) outputs.d_y = RealData<T>(*dy);
  if (d_lse != nullptr) outputs.d_lse = d_lse->data<W>();
  K* const dx = MutableRealData<T>(Output(0, sizes, at::dtype<T>()));
  if (dy == nullptr) {
    // A gradient of zeros, which the kernel may overwrite.
    std::fill_n(reinterpret_cast<T*>(dx), y.numel(), T{});
    outputs.d_y = dx;
  }
  Tensor* const dbias =
      OutputSize() > 1 ? Output(1, tensors.bias->sizes(), at::dtype<T>()) : nullptr;
  MaskedSoftmaxGradient(
      scores, mask, outputs, dx, dbias == nullptr ? nullptr : MutableRealData<T>(dbias),
      AtParallelFor);
  return true;
}

bool MaskedSoftmaxGradientOp::DoRunWithOtherType() {
  ThrowNotReal("MaskedSoftmaxGradient", "Y", Input(0));
}

void FillMaskedSoftmaxSchema(OpSchema& schema) {
  schema.NumInputs(1, 6)
      .NumOutputs(1, 2)
      .AllowInplace({{0, 0}})
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(static_cast<size_t>(def.output_size()), in[0]);
        if (out.size() > 1) {
          if (out[1].dims_size() > 0) out[1].mutable_dims()->RemoveLast();
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
