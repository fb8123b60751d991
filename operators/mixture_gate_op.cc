#include "operators/mixture_gate_op.h"

#include "contracts/check.h"
#include "operators/arguments.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

MixtureOptions ReadMixture(const OperatorDef& def) {
  const Arguments arguments(def);
  MixtureOptions options;
  options.top_k = arguments.OptionalInt("top_k");
  options.renormalize = arguments.Bool("renormalize", false);
  Checked([&] { CheckMixtureOptions(def.type().c_str(), options); });
  return options;
}

}  // namespace

MixtureGateOp::MixtureGateOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws), options_(ReadMixture(def)) {}

bool MixtureGateOp::RunOnDevice() {
  return Checked([this] {
    const TensorView e = View(0);
    TensorView bias;
    if (InputSize() > 2) bias = View(2);
    const MixtureTensors tensors =
        BindMixture("MixtureGate", options_, e, View(1), InputSize() > 2 ? &bias : nullptr);
    const Dims sizes = MixedSizes(e.sizes);
    CheckOutputSize("MixtureGate", "Y", sizes, e);
    void* const y = Make(0, sizes, Input(0).dtype());
    MixtureGate(tensors, y, OutputSize() > 1 ? MakeLike(1, 1) : nullptr, AtParallelFor);
    return true;
  });
}

MixtureGateGradientOp::MixtureGateGradientOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws),
      options_(ReadMixture(def)),
      has_bias_(Arguments(def).Bool("has_bias", false)),
      has_d_y_(Arguments(def).Bool("has_d_y", true)) {
  const int least = has_bias_ ? 4 : 3;
  CAFFE_ENFORCE(
      def.input_size() == least || (has_d_y_ && def.input_size() == least + 1),
      "MixtureGateGradient: there must be ", least,
      " inputs, or one more where Y and G both have a gradient, but there are ", def.input_size(),
      ".");
}

bool MixtureGateGradientOp::RunOnDevice() {
  return Checked([this] {
    const TensorView e = View(0);
    const TensorView z = View(1);
    int next = 2;
    TensorView bias;
    if (has_bias_) bias = View(next++);
    const MixtureTensors tensors =
        BindMixture("MixtureGateGradient", options_, e, z, has_bias_ ? &bias : nullptr);
    const void* d_y = nullptr;
    if (has_d_y_) {
      const TensorView given = View(next++);
      CheckMixedGradient("MixtureGateGradient", given, e);
      d_y = given.data;
    }
    const void* d_g = nullptr;
    if (next < InputSize()) {
      const TensorView given = View(next);
      CheckSame("MixtureGateGradient", "d_G", given, "Z", z);
      d_g = given.data;
    }
    void* const d_e = MakeLike(0, 0);
    void* const d_z = MakeLike(1, 1);
    MixtureGateGradient(tensors, d_y, d_g, d_e, d_z, AtParallelFor);
    return true;
  });
}

void FillMixtureGateSchema(OpSchema& schema) {
  schema.NumInputs(2, 3)
      .NumOutputs(1, 2)
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out(static_cast<size_t>(def.output_size()));
        out[0] = in[0];
        if (in[0].dims_size() < 2) {
          out[0].set_unknown_shape(true);
        } else {
          SetDims(MixedSizes(DimsOf(in[0])), &out[0]);
        }
        if (out.size() > 1) out[1] = in[1];
        return out;
      })
      .SetDoc(R"DOC(
A mixture of experts: `Y[n] = sum over k of G[n, k] * E[n, k]`, where `G[n]` is the softmax of
`Z[n]`. `E` `[N, K, ..]` is what K experts say of each of N rows, `Z` `[N, K]` how much each is to
count.

With `top_k` each row keeps the experts with the top_k largest `Z`, of equal ones those that come
first; the others weigh 0. Weights are chosen after the softmax and do not add up to 1 again, so
that one expert alone still has a gradient. With `renormalize` they do: those that are kept are
divided by their sum, and a row that keeps one expert has no gradient to `Z`. `G`, if asked for, is
the weights as they were used.

A routing `bias` balances the load of experts without a loss: each row then keeps those with the
largest softmax(Z) + bias, and weighs them as if there were none. It has no gradient; whoever trains
moves it, up for experts that are chosen too rarely. An infinity keeps an expert always, or never.

An expert that weighs 0, as one with a `Z` of -inf does, is not read: an infinity or NaN in it does
not reach `Y`. A NaN in `Z` makes its row NaN.

float16 and bfloat16 are computed in float32 and rounded once. Gradients go to `E`, zeros where it
weighs 0, and to `Z`, also from that of `G`.

Errors: `E` not float16, bfloat16, float32 or float64, or of less than 2 dims; `Z` of another type
or not of the first 2 dims of `E`; `bias` not `[K]`, or of another type than is computed in; `top_k`
less than 1 or more than K; `renormalize` not 0 or 1.

Source: Jacobs, Jordan, Nowlan and Hinton 1991; Shazeer et al. 2017 (top k); Jiang et al. 2024
(renormalized: Mixtral); Wang et al. 2024 and DeepSeek-AI 2024 (bias: DeepSeek-V3).

**Example**

```
workspace.FeedBlob("E", np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], dtype=np.float32))
workspace.FeedBlob("Z", np.array([[0, 0], [0, 1000]], dtype=np.float32))
op = core.CreateOperator("MixtureGate", ["E", "Z"], ["Y", "G"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("Y").tolist())
op = core.CreateOperator("MixtureGate", ["E", "Z"], ["Y", "G"], top_k=1)
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("Y").tolist())
print(workspace.FetchBlob("G").tolist())
```

**Result**

```
[[2.0, 3.0], [7.0, 8.0]]
[[0.5, 1.0], [7.0, 8.0]]
[[0.5, 0.0], [0.0, 1.0]]
```
)DOC")
      .Arg("top_k", "int (default all): how many experts each row keeps")
      .Arg("renormalize", "int, 0 or 1 (default 0): weights that are kept are divided by their sum")
      .Input(0, "E", "(Tensor) `[N, K, ..]`, float16, bfloat16, float32 or float64")
      .Input(1, "Z", "(Tensor) `[N, K]`, of E's type")
      .Input(
          2, "bias",
          "(Tensor<float>, double where E is) `[K]`, added where the top k are chosen; may be left "
          "out")
      .Output(0, "Y", "(Tensor) `[N, ..]`, of E's type")
      .Output(1, "G", "(Tensor) `[N, K]`, the weights, of E's type");
}

void FillMixtureGateGradientSchema(OpSchema& schema) {
  schema.NumInputs(3, 5)
      .NumOutputs(2)
      .SetDoc(
          "The gradient of MixtureGate. Inputs are those of MixtureGate, then the gradients of Y "
          "and G that there are.")
      .Arg("top_k", "int (default all): as given to MixtureGate, as renormalize")
      .Arg("has_bias", "int, 0 or 1 (default 0): there is a bias")
      .Arg("has_d_y", "int, 0 or 1 (default 1): Y has a gradient")
      .Input(0, "E", "(Tensor) the E of MixtureGate")
      .Input(1, "Z", "(Tensor) the Z of MixtureGate")
      .Input(2, "bias", "(Tensor) the bias of MixtureGate, with has_bias")
      .Input(3, "d_Y", "(Tensor) gradient of Y, unless has_d_y is 0")
      .Input(4, "d_G", "(Tensor) gradient of G")
      .Output(0, "d_E", "(Tensor) gradient of E, of its shape and type")
      .Output(1, "d_Z", "(Tensor) gradient of Z, of its shape and type");
}

}  // namespace mask
}  // namespace caffe2
