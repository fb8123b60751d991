#include "operators/gate_op.h"

#include "contracts/check.h"
#include "kernels/fill.h"
#include "operators/arguments.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

GateOptions ReadGateOptions(const OperatorDef& def) {
  const Arguments arguments(def);
  GateOptions options;
  options.kind = arguments.String("kind", "sigmoid");
  options.is_test = MayDrawNoise(options.kind) && arguments.Bool("is_test", false);
  options.clip = arguments.OptionalNumber("clip");
  options.beta = arguments.OptionalNumber("beta");
  options.gamma = arguments.OptionalNumber("gamma");
  options.zeta = arguments.OptionalNumber("zeta");
  options.tau = arguments.OptionalNumber("tau");
  options.hard = arguments.OptionalBool("hard");
  return options;
}

namespace {

GateFunction ReadGate(const OperatorDef& def) {
  const GateOptions options = ReadGateOptions(def);
  return Checked([&] { return ReadGateFunction(def.type().c_str(), options, kGateKinds); });
}

bool TakesThreshold(const GateFunction& function) {
  return function.kind == GateKind::kRelu;
}

}  // namespace

GateOp::GateOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws), function_(ReadGate(def)) {
  CAFFE_ENFORCE(
      def.input_size() == 2 || TakesThreshold(function_),
      "Gate: there must be 2 inputs (X, Z), since a threshold goes with kind = relu, but there are "
      "3.");
  CAFFE_ENFORCE(
      def.output_size() <= 2 || MayDrawNoise(Arguments(def).String("kind", "sigmoid")),
      "Gate: there must be at most 2 outputs (Y, G), since noise goes with kind = hard_concrete or "
      "gumbel_softmax, but there are 3.");
}

bool GateOp::RunOnDevice() {
  return Checked([this] {
    const TensorView x = View(0);
    const TensorView z = View(1);
    GateInputs inputs{&x, &z};
    TensorView threshold;
    if (InputSize() > 2) threshold = View(2);
    if (InputSize() > 2) inputs.threshold = &threshold;
    const GateTensors tensors = BindGate("Gate", inputs);
    if (function_.noisy) function_.noise = {context_.RandSeed(), run_++};
    void* const y = MakeLike(0, 0);
    void* const g = OutputSize() > 1 ? MakeLike(1, 1) : nullptr;
    if (OutputSize() > 2) {
      auto* const noise = static_cast<int64_t*>(Make(2, Dims{2}, TypeMeta::Make<int64_t>()));
      noise[0] = function_.noise.seed;
      noise[1] = static_cast<int64_t>(function_.noise.run);
    }
    Gate(function_, tensors, y, g, AtParallelFor);
    return true;
  });
}

GateGradientOp::GateGradientOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws),
      function_(ReadGate(def)),
      has_threshold_(def.output_size() > 2),
      has_d_y_(Arguments(def).Bool("has_d_y", true)) {
  CAFFE_ENFORCE(
      def.output_size() == 2 || TakesThreshold(function_),
      "GateGradient: there must be 2 outputs, since a threshold goes with kind = relu, but there "
      "are 3.");
  const int least = 3 + (has_threshold_ ? 1 : 0) + (function_.noisy ? 1 : 0);
  CAFFE_ENFORCE(
      def.input_size() == least || (has_d_y_ && def.input_size() == least + 1),
      "GateGradient: there must be ", least,
      " inputs, or one more where Y and G both have a gradient, but there are ", def.input_size(),
      ".");
}

bool GateGradientOp::RunOnDevice() {
  return Checked([this] {
    const TensorView x = View(0);
    const TensorView z = View(1);
    GateInputs inputs{&x, &z};
    int next = 2;
    TensorView threshold;
    if (has_threshold_) {
      threshold = View(next++);
      inputs.threshold = &threshold;
    }
    const GateTensors tensors = BindGate("GateGradient", inputs);
    if (function_.noisy) function_.noise = NoiseOf("GateGradient", View(next++));
    GateGradients gradients{};
    if (has_d_y_) {
      const TensorView d_y = View(next++);
      CheckSame("GateGradient", "d_Y", d_y, "X", x);
      gradients.d_y = d_y.data;
    }
    if (next < InputSize()) {
      const TensorView d_g = View(next);
      CheckSame("GateGradient", "d_G", d_g, "Z", z);
      gradients.d_g = d_g.data;
    }
    gradients.d_x = MakeLike(0, 0);
    gradients.d_z = MakeLike(1, 1);
    if (has_threshold_) gradients.d_threshold = MakeLike(2, 2);
    if (!has_d_y_) {
      // What X is does not matter to G.
      FillSpan(0, x.numel() * x.element_bytes, static_cast<uint8_t*>(gradients.d_x));
    }
    GateGradient(function_, tensors, gradients, AtParallelFor);
    return true;
  });
}

void FillGateSchema(OpSchema& schema) {
  schema.NumInputs(2, 3)
      .NumOutputs(1, 3)
      .AllowInplace({{0, 0}})
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(static_cast<size_t>(def.output_size()));
        for (size_t i = 0; i < out.size(); ++i) {
          out[i] = i < 2 ? in[i] : CreateTensorShape(std::vector<int64_t>{2}, TensorProto::INT64);
        }
        return out;
      })
      .SetDoc(R"DOC(
A gate: `Y = g(Z) * X`. `Z` has the shape of `X`, or one that NumPy broadcasts to it, such as
`[N, 1]` for one gate for each row of an `X` of `[N, D]`; it is not expanded. `G`, if asked for, is
`g(Z)`, of the shape of `Z`.

| kind | g | gradient |
| --- | --- | --- |
| sigmoid | 1 / (1 + exp(-Z)) | its own |
| tanh | tanh(Z) | its own |
| softmax | the softmax of Z / `tau` over its last axis | its own |
| relu | max(0, Z - `threshold`), or max(0, Z) | its own, to `threshold` too; 0 where g is |
| hard | 1 where Z > 0, else 0 | straight through: that of the sigmoid, or 0 where abs(Z) > `clip` |
| hard_concrete | clamp(s * (`zeta` - `gamma`) + `gamma`, 0, 1) | its own; 0 where g is cut to 0 or 1 |
| gumbel_softmax | the softmax of (Z - log(-log u)) / `tau` over its last axis | its own |

In hard_concrete s is sigmoid((log u - log(1 - u) + Z) / `beta`), where u is drawn anew for each
entry of `Z` on each run; with `is_test` it is sigmoid(Z). The probability that such a gate is not 0
is sigmoid(Z - `beta` * log(-`gamma` / `zeta`)).

In gumbel_softmax u is drawn so, too; with `is_test` it is softmax. With `hard` both are one-hot: g
is 1 at the greatest entry of a row, the first of equals, and 0 elsewhere. Its gradient goes
straight through: that of `Z` is what the softmax has, to the bit. With `hard` gumbel_softmax
chooses an entry with the probability that the softmax of `Z` gives it, whatever `tau` is. `tau` and
`hard` are those of torch.nn.functional.gumbel_softmax; the temperature `beta` is another kind's, of
entries.

Numbers come from the `random_seed` of the device option: with one seed an operator draws the same
sequence in every process, whatever the number of threads, and so do others with that seed; 0 is a
seed like any other. Without one each operator has a seed of its own, another each time. `noise`
says what was drawn, so that the gradient draws it again. Training needs the outputs `Y`, `G` and
`noise` of these kinds.

relu, hard, hard_concrete and, with `hard`, the softmaxes mask: where g is 0, `Y` is 0 even if `X`
is an infinity or NaN, and so is the gradient of `X`; where g is flat, the gradient of `Z` is 0. But
straight through, a closed gate learns from the `X` behind it, NaN included. The other kinds
multiply, so that 0 * inf is NaN. A NaN in `Z` makes g NaN, except for kind hard, where it is not
greater than 0. A row of the softmaxes is NaN where it has a NaN or inf, or nothing but -inf, also
with `hard`.

float16 and bfloat16 are computed in float32 and rounded once. Gradients go to `X`, `Z` and
`threshold`, also from that of `G`; they are summed, in float64, over what `Z` and `threshold` were
broadcast to, and finite where the gate saturates. `Y` may be `X` itself in a net
that does not train: gradients read `X`.

Errors: `X` not float16, bfloat16, float32 or float64; `Z` or `threshold` of another type or of a
shape that does not broadcast; `threshold` without kind = relu, `noise` without kind =
hard_concrete or gumbel_softmax; arguments of another kind; `clip` negative, `beta` or `tau` not
above 0, `gamma` above 0, `zeta` below 1, or the two further apart than float32 reaches.

Source: Hochreiter and Schmidhuber 1997 (gates), Bengio, Leonard and Courville 2013 (straight
through), Louizos, Welling and Kingma 2018 (hard concrete, L0), Jang, Gu and Poole 2017 and
Maddison, Mnih and Teh 2017 (Gumbel softmax).

**Example**

```
workspace.FeedBlob("X", np.array([[1, 2], [3, 4]], dtype=np.float32))
workspace.FeedBlob("Z", np.array([[0], [-1000]], dtype=np.float32))
op = core.CreateOperator("Gate", ["X", "Z"], ["Y", "G"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("Y").tolist())
print(workspace.FetchBlob("G").tolist())
workspace.FeedBlob("threshold", np.array(-2, dtype=np.float32))
op = core.CreateOperator("Gate", ["X", "Z", "threshold"], ["Y"], kind="relu")
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("Y").tolist())
```

**Result**

```
[[0.5, 1.0], [0.0, 0.0]]
[[0.5], [0.0]]
[[2.0, 4.0], [0.0, 0.0]]
```
)DOC")
      .Arg(
          "kind",
          "string (default sigmoid): sigmoid, tanh, softmax, relu, hard, hard_concrete or "
          "gumbel_softmax")
      .Arg(
          "clip",
          "float (default 0, no limit): with kind hard, no gradient where abs(Z) is greater")
      .Arg("beta", "float (default 2/3): temperature of hard_concrete")
      .Arg("gamma", "float (default -0.1): what hard_concrete stretches 0 to")
      .Arg("zeta", "float (default 1.1): what hard_concrete stretches 1 to")
      .Arg("tau", "float (default 1): temperature of softmax and gumbel_softmax")
      .Arg("hard", "int, 0 or 1 (default 0): 1 makes softmax and gumbel_softmax one-hot")
      .Arg("is_test", "int, 0 or 1 (default 0): 1 leaves the noise out")
      .Input(0, "X", "(Tensor) float16, bfloat16, float32 or float64, of any shape")
      .Input(1, "Z", "(Tensor) of X's type, broadcastable to X")
      .Input(
          2, "threshold",
          "(Tensor) of X's type, broadcastable to Z; with relu, where it may be left out")
      .Output(0, "Y", "(Tensor) of X's shape and type")
      .Output(1, "G", "(Tensor) g(Z), of Z's shape and type")
      .Output(
          2, "noise",
          "(Tensor<int64>) `[2]`, seed and number of the run; with hard_concrete and "
          "gumbel_softmax");
}

void FillGateGradientSchema(OpSchema& schema) {
  schema.NumInputs(3, 5)
      .NumOutputs(2, 3)
      .SetDoc(
          "The gradient of Gate. Inputs are those of Gate, with hard_concrete and gumbel_softmax "
          "`noise` unless `is_test` is 1, then the gradients of Y and G that there are. `X` counts "
          "by its shape alone where Y has none.")
      .Arg("has_d_y", "int, 0 or 1 (default 1): Y has a gradient")
      .Arg("kind", "string (default sigmoid): as given to Gate, as all other arguments")
      .Input(0, "X", "(Tensor) the X of Gate")
      .Input(1, "Z", "(Tensor) the Z of Gate")
      .Input(
          2, "d_Y",
          "(Tensor) gradient of Y, unless has_d_y is 0; after the threshold of Gate or its noise")
      .Input(3, "d_G", "(Tensor) gradient of G")
      .Output(0, "d_X", "(Tensor) gradient of X, of its shape and type")
      .Output(1, "d_Z", "(Tensor) gradient of Z, of its shape and type")
      .Output(2, "d_threshold", "(Tensor) gradient of threshold; with relu");
}

}  // namespace mask
}  // namespace caffe2
