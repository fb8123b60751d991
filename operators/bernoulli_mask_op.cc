#include "operators/bernoulli_mask_op.h"

#include "contracts/bernoulli_mask.h"
#include "contracts/check.h"
#include "kernels/random_mask.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

bool BernoulliMaskOp::RunOnDevice() {
  return Checked([this] {
    const TensorView z = View(0);
    const Real type = RealType("BernoulliMask", "Z", z);
    auto* const mask = static_cast<bool*>(Make(0, z.sizes, TypeMeta::Make<bool>()));
    void* const log_prob = MakeLike(1, 0);
    BernoulliMask(
        type, z.data, z.numel(), {context_.RandSeed(), run_++}, mask, log_prob, AtParallelFor);
    return true;
  });
}

bool BernoulliMaskGradientOp::RunOnDevice() {
  return Checked([this] {
    const TensorView z = View(0);
    const TensorView mask = View(1);
    const TensorView d_log_prob = View(2);
    const Real type = CheckBernoulliMaskGradient("BernoulliMaskGradient", z, mask, d_log_prob);
    void* const d_z = MakeLike(0, 0);
    BernoulliMaskGradient(
        type, z.data, mask.As<bool>(), d_log_prob.data, z.numel(), d_z, AtParallelFor);
    return true;
  });
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
