#include "operators/mixture_gate_op.h"

#include <vector>

#include "operators/arguments.h"
#include "operators/check.h"
#include "operators/parallel.h"
#include "operators/real.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

// What `top_k` is, or 0 where all experts are kept.
int64_t ReadTopK(const OperatorDef& def) {
  const Arguments arguments(def);
  if (!arguments.Has("top_k")) return 0;
  const int64_t top_k = arguments.Int("top_k", 0);
  CAFFE_ENFORCE(top_k >= 1, def.type(), ": argument top_k must be at least 1, but is ", top_k, ".");
  return top_k;
}

// Of E, Z and the bias, which may be null.
MixtureTensors ReadTensors(
    const char* op, const Tensor& e, const Tensor& z, const Tensor* bias, int64_t top_k,
    bool renormalize) {
  MixtureTensors tensors{};
  tensors.type = RealType(op, "E", e);
  CheckSameType(op, "Z", z, "E", e);
  CAFFE_ENFORCE(
      e.dim() >= 2, op, ": E must have at least 2 dims, but is of shape ", ShapeName(e.sizes()),
      ".");
  CAFFE_ENFORCE(
      z.dim() == 2 && z.size(0) == e.size(0) && z.size(1) == e.size(1), op,
      ": Z must be of the first 2 dims of E, ", ShapeName(e.sizes()), ", but is of shape ",
      ShapeName(z.sizes()), ".");
  CAFFE_ENFORCE(
      top_k <= z.size(1), op, ": argument top_k must be at most the ", z.size(1),
      " experts of Z, but is ", top_k, ".");
  tensors.rows = e.size(0);
  tensors.experts = e.size(1);
  // Where there are no rows, the product of the other dims need not be an int64.
  tensors.columns = tensors.rows == 0 ? 0 : Product(e.sizes(), 2, e.dim());
  tensors.e = e.raw_data();
  tensors.z = z.raw_data();
  tensors.top_k = top_k == 0 ? tensors.experts : top_k;
  tensors.renormalize = renormalize;
  if (bias != nullptr) {
    const TypeMeta computed =
        e.IsType<double>() ? TypeMeta::Make<double>() : TypeMeta::Make<float>();
    CAFFE_ENFORCE(
        bias->dtype() == computed && bias->dim() == 1 && bias->size(0) == z.size(1), op,
        ": bias must be of shape [", z.size(1), "] and type ", TypeName(computed),
        ", but is of shape ", ShapeName(bias->sizes()), " and type ", TypeName(bias->dtype()), ".");
    tensors.bias = bias->raw_data();
  }
  return tensors;
}

std::vector<int64_t> MixedSizes(const Tensor& e) {
  std::vector<int64_t> sizes = e.sizes().vec();
  sizes.erase(sizes.begin() + 1);
  return sizes;
}

}  // namespace

MixtureGateOp::MixtureGateOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws),
      top_k_(ReadTopK(def)),
      renormalize_(Arguments(def).Bool("renormalize", false)) {}

bool MixtureGateOp::RunOnDevice() {
  const Tensor& e = Input(0);
  const Tensor& z = Input(1);
  const Tensor* const bias = InputSize() > 2 ? &Input(2) : nullptr;
  const MixtureTensors tensors = ReadTensors("MixtureGate", e, z, bias, top_k_, renormalize_);
  const std::vector<int64_t> sizes = MixedSizes(e);
  CheckOutputSize("MixtureGate", "Y", sizes, e.dtype());
  void* const y = Output(0, sizes, at::dtype(e.dtype()))->raw_mutable_data(e.dtype());
  void* g = nullptr;
  if (OutputSize() > 1) {
    g = Output(1, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  }
  MixtureGate(tensors, y, g, AtParallelFor);
  return true;
}

MixtureGateGradientOp::MixtureGateGradientOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws),
      top_k_(ReadTopK(def)),
      renormalize_(Arguments(def).Bool("renormalize", false)),
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
  const Tensor& e = Input(0);
  const Tensor& z = Input(1);
  int next = 2;
  const Tensor* const bias = has_bias_ ? &Input(next++) : nullptr;
  const MixtureTensors tensors =
      ReadTensors("MixtureGateGradient", e, z, bias, top_k_, renormalize_);
  const void* d_y = nullptr;
  if (has_d_y_) {
    const Tensor& given = Input(next++);
    const std::vector<int64_t> sizes = MixedSizes(e);
    CheckSameType("MixtureGateGradient", "d_Y", given, "E", e);
    CAFFE_ENFORCE(
        given.sizes() == sizes, "MixtureGateGradient: d_Y must be of shape ", ShapeName(sizes),
        ", as Y is, but is of shape ", ShapeName(given.sizes()), ".");
    d_y = given.raw_data();
  }
  const void* d_g = nullptr;
  if (next < InputSize()) {
    CheckSame("MixtureGateGradient", "d_G", Input(next), "Z", z);
    d_g = Input(next).raw_data();
  }
  void* const d_e = Output(0, e.sizes(), at::dtype(e.dtype()))->raw_mutable_data(e.dtype());
  void* const d_z = Output(1, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  MixtureGateGradient(tensors, d_y, d_g, d_e, d_z, AtParallelFor);
  return true;
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
          out[0].clear_dims();
          for (int d = 0; d < in[0].dims_size(); ++d) {
            if (d != 1) out[0].add_dims(in[0].dims(d));
          }
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
