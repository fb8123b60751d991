#include "operators/highway_op.h"

#include "contracts/check.h"
#include "contracts/gate.h"
#include "operators/gate_op.h"
#include "operators/parallel.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts, the kernels

namespace {

GateFunction ReadHighway(const OperatorDef& def) {
  const GateOptions options = ReadGateOptions(def);
  return Checked([&] { return ReadGateFunction(def.type().c_str(), options, kHighwayKinds); });
}

GateTensors BindHighway(
    const char* op, const TensorView& h, const TensorView& x, const TensorView& z) {
  GateInputs inputs{&h, &z};
  inputs.x_name = "H";
  inputs.carry = &x;
  inputs.carry_name = "X";
  return BindGate(op, inputs);
}

}  // namespace

HighwayOp::HighwayOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(def, ws), function_(ReadHighway(def)) {}

bool HighwayOp::RunOnDevice() {
  return Checked([this] {
    const GateTensors tensors = BindHighway("Highway", View(0), View(1), View(2));
    Gate(function_, tensors, MakeLike(0, 0), nullptr, AtParallelFor);
    return true;
  });
}

HighwayGradientOp::HighwayGradientOp(const OperatorDef& def, Workspace* ws)
    : MaskOperator(WithDistinctOutputs(def), ws), function_(ReadHighway(def)) {}

bool HighwayGradientOp::RunOnDevice() {
  return Checked([this] {
    const TensorView h = View(0);
    const TensorView d_y = View(3);
    const GateTensors tensors = BindHighway("HighwayGradient", h, View(1), View(2));
    CheckSame("HighwayGradient", "d_Y", d_y, "H", h);
    GateGradients gradients{};
    gradients.d_y = d_y.data;
    gradients.d_x = MakeLike(0, 0);
    gradients.d_carry = MakeLike(1, 0);
    gradients.d_z = MakeLike(2, 2);
    GateGradient(function_, tensors, gradients, AtParallelFor);
    return true;
  });
}

void FillHighwaySchema(OpSchema& schema) {
  schema.NumInputs(3)
      .NumOutputs(1)
      .AllowInplace({{0, 0}, {1, 0}})
      .IdenticalTypeAndShapeOfInput(0)
      .SetDoc(R"DOC(
A highway connection: `Y = g(Z) * H + (1 - g(Z)) * X`, between what a layer makes of its input, `H`,
and the input itself, `X`. `Z` has their shape, or one that NumPy broadcasts to it, such as `[N, 1]`
for one gate for each row; it is not expanded.

`kind` says what g is, as for Gate: sigmoid; softmax, over the last axis of `Z`; or hard, 1 where
Z > 0 and else 0, whose gradient is straight through that of the sigmoid, or 0 where abs(Z) > `clip`.
hard chooses: an infinity or NaN in what is not chosen does not reach `Y`, but does reach the
gradient of `Z`, which compares both.

float16 and bfloat16 are computed in float32 and rounded once. Gradients go to `H`, `X` and `Z`;
that of `Z` is summed, in float64, over what `Z` was broadcast to, and finite where the gate
saturates. `Y` may be `H` or `X` itself in a net that does not train: gradients read
both.

Errors: `H` not float16, bfloat16, float32 or float64; `X` of another shape or type; `Z` of another
type or of a shape that does not broadcast; a `kind` that is none of these; `clip` negative, or
without kind = hard.

Source: Srivastava, Greff and Schmidhuber 2015.

**Example**

```
workspace.FeedBlob("H", np.array([[1, 2], [3, 4]], dtype=np.float32))
workspace.FeedBlob("X", np.array([[5, 6], [7, 8]], dtype=np.float32))
workspace.FeedBlob("Z", np.array([[0], [1000]], dtype=np.float32))
op = core.CreateOperator("Highway", ["H", "X", "Z"], ["Y"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("Y").tolist())
```

**Result**

```
[[3.0, 4.0], [3.0, 4.0]]
```
)DOC")
      .Arg("kind", "string (default sigmoid): sigmoid, softmax or hard")
      .Arg("clip", "float (default 0, no limit): with hard, no gradient where abs(Z) is greater")
      .Input(0, "H", "(Tensor) float16, bfloat16, float32 or float64, of any shape")
      .Input(1, "X", "(Tensor) of H's shape and type")
      .Input(2, "Z", "(Tensor) of H's type, broadcastable to H")
      .Output(0, "Y", "(Tensor) of H's shape and type");
}

void FillHighwayGradientSchema(OpSchema& schema) {
  schema.NumInputs(4)
      .NumOutputs(3)
      .SetDoc("The gradient of Highway.")
      .Arg("kind", "string (default sigmoid): as given to Highway")
      .Arg("clip", "float (default 0): as given to Highway")
      .Input(0, "H", "(Tensor) the H of Highway")
      .Input(1, "X", "(Tensor) the X of Highway")
      .Input(2, "Z", "(Tensor) the Z of Highway")
      .Input(3, "d_Y", "(Tensor) gradient of Y")
      .Output(0, "d_H", "(Tensor) gradient of H, of its shape and type")
      .Output(1, "d_X", "(Tensor) gradient of X, of its shape and type")
      .Output(2, "d_Z", "(Tensor) gradient of Z, of its shape and type");
}

}  // namespace mask
}  // namespace caffe2
