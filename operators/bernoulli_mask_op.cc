#include "operators/bernoulli_mask_op.h"

#include "kernels/random_mask.h"
#include "operators/check.h"
#include "operators/parallel.h"
#include "operators/real.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

bool BernoulliMaskOp::RunOnDevice() {
  const Tensor& z = Input(0);
  const Real type = RealType("BernoulliMask", "Z", z);
  const void* const logits = z.raw_data();
  auto* const mask = Output(0, z.sizes(), at::dtype<bool>())->mutable_data<bool>();
  void* const log_prob = Output(1, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  BernoulliMask(
      type, logits, z.numel(), {context_.RandSeed(), run_++}, mask, log_prob, AtParallelFor);
  return true;
}

bool BernoulliMaskGradientOp::RunOnDevice() {
  const Tensor& z = Input(0);
  const Tensor& mask = Input(1);
  const Tensor& d_log_prob = Input(2);
  const Real type = RealType("BernoulliMaskGradient", "Z", z);
  const bool* const drawn = MaskData("BernoulliMaskGradient", "mask", mask);
  CAFFE_ENFORCE(
      mask.sizes() == z.sizes(), "BernoulliMaskGradient: mask must be of the shape of Z, ",
      ShapeName(z.sizes()), ", but is of shape ", ShapeName(mask.sizes()), ".");
  CheckSame("BernoulliMaskGradient", "d_log_prob", d_log_prob, "Z", z);
  const void* const logits = z.raw_data();
  void* const d_z = Output(0, z.sizes(), at::dtype(z.dtype()))->raw_mutable_data(z.dtype());
  BernoulliMaskGradient(type, logits, drawn, d_log_prob.raw_data(), z.numel(), d_z, AtParallelFor);
  return true;
}

void FillBernoulliMaskSchema(OpSchema& schema) {
  schema.NumInputs(1)
      .NumOutputs(2)
      .TensorInferenceFunction([](const OperatorDef&, const std::vector<TensorShape>& in) {
        std::vector<TensorShape> out{in[0], in[0]};
        out[0].set_data_type(TensorProto::BOOL);
        return out;
      })
      .SetDoc(R"DOC(
Draws a mask: each entry of `mask` is True with probability sigmoid(Z), and `log_prob` is the
logarithm of the probability of what was drawn, log sigmoid(Z) or log sigmoid(-Z).

`log_prob` is differentiable in `Z`. By it a masking network learns from a reward that is not: the
gradient of mean(reward * log_prob), the reward taken as a constant, is an unbiased estimate of the
gradient of the expected reward (REINFORCE). Only `log_prob` has a gradient; `mask` has none.

Probabilities are exact to 2^-24, and those of 0 and 1 exact. `log_prob` and its gradient are finite
for every finite `Z`. A NaN in `Z` draws False and a `log_prob` of NaN.

Numbers come from the `random_seed` of the device option: with one seed an operator draws the same
sequence in every process, whatever the number of threads, and so do others with that seed; 0 is a
seed like any other. Without one each operator has a seed of its own, another each time. Each run
draws anew.

Errors: `Z` not float16, bfloat16, float32 or float64.

Source: Williams 1992.

**Example**

```
workspace.FeedBlob("Z", np.array([-1000, 1000, 0], dtype=np.float32))
op = core.CreateOperator("BernoulliMask", ["Z"], ["mask", "log_prob"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("mask")[:2].tolist())
print(workspace.FetchBlob("log_prob").round(4).tolist())
```

**Result**

```
[False, True]
[0.0, 0.0, -0.6930999755859375]
```
)DOC")
      .Input(0, "Z", "(Tensor) float16, bfloat16, float32 or float64, of any shape")
      .Output(0, "mask", "(Tensor<bool>) of Z's shape")
      .Output(1, "log_prob", "(Tensor) of Z's shape and type");
}

void FillBernoulliMaskGradientSchema(OpSchema& schema) {
  schema.NumInputs(3)
      .NumOutputs(1)
      .SetDoc("The gradient of BernoulliMask's log_prob: d_log_prob * (mask - sigmoid(Z)).")
      .Input(0, "Z", "(Tensor) the Z of BernoulliMask")
      .Input(1, "mask", "(Tensor<bool>) what BernoulliMask drew")
      .Input(2, "d_log_prob", "(Tensor) gradient of log_prob")
      .Output(0, "d_Z", "(Tensor) gradient of Z, of its shape and type");
}

}  // namespace mask
}  // namespace caffe2
