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

MixtureTensors ReadTensors(const char* op, const Tensor& e, const Tensor& z, int64_t top_k) {
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
  return tensors;
}

std::vector<int64_t> MixedSizes(const Tensor& e) {
  std::vector<int64_t> sizes = e.sizes().vec();
  sizes.erase(sizes.begin() + 1);
  return sizes;
}

}  // namespace

MixtureGateOp::MixtureGateOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws), top_k_(ReadTopK(def)) {}

bool MixtureGateOp::RunOnDevice() {
  const Tensor& e = Input(0);
  const Tensor& z = Input(1);
  const MixtureTensors tensors = ReadTensors("MixtureGate", e, z, top_k_);
  const std::vector<int64_t> sizes = MixedSizes(e);
  CheckOutputSize("MixtureGate", "Y", sizes, e.dtype());
  void* const y = Output(0, sizes, at::dtype(e.dtype()))->raw_mutable_data(e.dtype());
  void* g = nullptr;
  if (OutputSize() > 1) {
    g = Output(1, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  }
  MixtureGate(tensors, y, g, &scratch_, AtParallelFor);
  return true;
}

MixtureGateGradientOp::MixtureGateGradientOp(const OperatorDef& def, Workspace* ws)
    : Operator<CPUContext>(WithDistinctOutputs(def), ws), top_k_(ReadTopK(def)) {}

bool MixtureGateGradientOp::RunOnDevice() {
  const Tensor& e = Input(0);
  const Tensor& z = Input(1);
  const Tensor& d_y = Input(2);
  const MixtureTensors tensors = ReadTensors("MixtureGateGradient", e, z, top_k_);
  const std::vector<int64_t> sizes = MixedSizes(e);
  CheckSameType("MixtureGateGradient", "d_Y", d_y, "E", e);
  CAFFE_ENFORCE(
      d_y.sizes() == sizes, "MixtureGateGradient: d_Y must be of shape ", ShapeName(sizes),
      ", as Y is, but is of shape ", ShapeName(d_y.sizes()), ".");
  const void* d_g = nullptr;
  if (InputSize() > 3) {
    CheckSame("MixtureGateGradient", "d_G", Input(3), "Z", z);
    d_g = Input(3).raw_data();
  }
  void* const d_e = Output(0, e.sizes(), at::dtype(e.dtype()))->raw_mutable_data(e.dtype());
  void* const d_z = Output(1, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  MixtureGateGradient(tensors, d_y.raw_data(), d_g, d_e, d_z, &scratch_, AtParallelFor);
  return true;
}

void FillMixtureGateSchema(OpSchema& schema) {
  schema.NumInputs(2)
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
that one expert alone still has a gradient. `G`, if asked for, is the weights as they were used.

An expert that weighs 0, as one with a `Z` of -inf does, is not read: an infinity or NaN in it does
not reach `Y`. A NaN in `Z` makes its row NaN.

float16 and bfloat16 are computed in float32 and rounded once. Gradients go to `E`, zeros where it
weighs 0, and to `Z`, also from that of `G`.

Errors: `E` not float16, bfloat16, float32 or float64, or of less than 2 dims; `Z` of another type
or not of the first 2 dims of `E`; `top_k` less than 1 or more than K.

Source: Jacobs, Jordan, Nowlan and Hinton 1991; Shazeer et al. 2017 (top k).

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
      .Input(0, "E", "(Tensor) `[N, K, ..]`, float16, bfloat16, float32 or float64")
      .Input(1, "Z", "(Tensor) `[N, K]`, of E's type")
      .Output(0, "Y", "(Tensor) `[N, ..]`, of E's type")
      .Output(1, "G", "(Tensor) `[N, K]`, the weights, of E's type");
}

void FillMixtureGateGradientSchema(OpSchema& schema) {
  schema.NumInputs(3, 4)
      .NumOutputs(2)
      .SetDoc("The gradient of MixtureGate.")
      .Arg("top_k", "int (default all): as given to MixtureGate")
      .Input(0, "E", "(Tensor) the E of MixtureGate")
      .Input(1, "Z", "(Tensor) the Z of MixtureGate")
      .Input(2, "d_Y", "(Tensor) gradient of Y")
      .Input(3, "d_G", "(Tensor) gradient of G")
      .Output(0, "d_E", "(Tensor) gradient of E, of its shape and type")
      .Output(1, "d_Z", "(Tensor) gradient of Z, of its shape and type");
}

}  // namespace mask
}  // namespace caffe2
