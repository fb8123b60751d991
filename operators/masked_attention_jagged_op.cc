#include "operators/masked_attention_jagged_op.h"

#include <string>
#include <vector>

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

JaggedAttention::JaggedAttention(const OperatorDef& def, Workspace* ws, const char* op)
    : ScoreOperator(WithDistinctOutputs(def), ws),
      contract_(Checked([&] { return Contract(op, ReadAttentionOptions(def)); })),
      has_key_lengths_(Arguments(def).Bool("has_key_lengths", false)),
      has_used_keys_(Arguments(def).Bool("has_used_keys", false)) {}

void JaggedAttention::CheckInputs(const std::string& names, int count) {
  std::string all = names + "Q, K, V, lengths";
  if (has_key_lengths_) all += ", key_lengths";
  if (has_used_keys_) all += ", used_keys";
  count += 4 + (has_key_lengths_ ? 1 : 0) + (has_used_keys_ ? 1 : 0);
  CheckScoreInputs(debug_def(), contract_.scores(), all.c_str(), count);
}

void JaggedAttention::BindInputs(int first, Contract::Bound* bound) {
  int next = first + 3;
  const TensorView queries = View(next++);
  TensorView keys;
  TensorView used_keys;
  TensorView sinks;
  JaggedInputs inputs;
  inputs.by = JaggedInputs::By::kLengths;
  inputs.queries = &queries;
  inputs.queries_name = "lengths";
  inputs.keys_name = "key_lengths";
  inputs.used_keys_name = "used_keys";
  if (has_key_lengths_) {
    keys = View(next++);
    inputs.keys = &keys;
  }
  if (has_used_keys_) {
    used_keys = View(next++);
    inputs.used_keys = &used_keys;
  }
  if (contract_.scores().has_sinks()) sinks = View(next);
  contract_.Bind(View(first), View(first + 1), View(first + 2), inputs, sinks, bound);
}

template class AttentionOp<JaggedAttention>;
template class AttentionGradientOp<JaggedAttention>;

void FillMaskedAttentionJaggedSchema(OpSchema& schema) {
  schema.NumInputs(4, 7)
      .NumOutputs(1, 2)
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        return InferAttention(def, in, /*fewest_dims=*/3, /*most_dims=*/3);
      })
      .SetDoc(R"DOC(
Attention of sequences that lie one behind the other, without padding: what
[MaskedAttention](#maskedattention) computes of each by itself, to the bit. `lengths` `[B]` say how
many of the rows of Q each sequence has; a query sees keys of its own sequence alone. Such rows are
what BooleanMask leaves of a padded batch, or BooleanMaskJagged of ragged rows. BooleanUnmask with the
mask of the former, bool `[B, L]`, makes a padded batch of O.

With `has_key_lengths` the keys are others than the queries: `key_lengths` `[B]` say how many of the
rows of K and V each sequence has. With `has_used_keys` only the first `used_keys` `[B]` of these are
there, as in a cache of keys and values with room for more; what is behind them is not read, and its
gradient is 0.

Heads are grouped as there: H is a multiple of Hkv, and head h of Q reads head h / (H / Hkv) of K and V.

What is kept is specified by triangles in `mode` and by `window_left` and `window_right`; there is
neither a mask nor a bias. `align` says where query i of a sequence stands among the keys of it:
top_left at i, bottom_right at i + its keys - its queries, where only keys that are there count. Scale,
softcap, `empty_row` and sinks are those of MaskedAttention; a row of uniform is the mean of the values
of its own sequence.

Float and double are computed as they are, 16-bit types in float.

The gradient goes to Q, K, V and sinks, from O, LSE or both. It reads LSE: a net that trains should name
the second output. Where it does not, the gradient runs the forward pass once more.

Errors: Q, K or V not of 3 dims, of different types, or of dims that do not fit; heads that are not a
multiple; a number of inputs that does not fit `has_key_lengths`, `has_used_keys` and `has_sinks`;
lengths not int32 or int64, not 1-D, negative, or not adding up to the rows that they cut; numbers of
sequences that differ; used_keys that are not between 0 and the keys of their sequence; sinks not of
shape `[H]` or of another type than Q; a mode that is unknown or reads an input; an unknown `align` or
`empty_row`; a negative softcap; a `scale` that is not finite; a side of the window below -1.

Source: torch.nn.attention.varlen and flash-attention's `flash_attn_varlen_func`, which take offsets;
`seqused_k` of the latter is used_keys; otherwise that of MaskedAttention.

**Example**

```
workspace.FeedBlob("X", np.array([[[1]], [[3]], [[5]]], dtype=np.float32))
workspace.FeedBlob("Q", np.zeros((3, 1, 1), dtype=np.float32))
workspace.FeedBlob("lengths", np.array([1, 2], dtype=np.int32))
op = core.CreateOperator("MaskedAttentionJagged", ["Q", "X", "X", "lengths"], ["O"])
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("O").ravel().tolist())
op = core.CreateOperator(
    "MaskedAttentionJagged", ["Q", "X", "X", "lengths"], ["O"], mode="upper")
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("O").ravel().tolist())
```

**Result**

```
[1.0, 4.0, 4.0]
[1.0, 3.0, 4.0]
```
)DOC")
      .Arg(
          "mode",
          "string: none of, or some of upper (causal), lower, upperdiag, lowerdiag, joined by '+'")
      .Arg("diagonal", "int (default 0): moves the boundary of a triangle to the right")
      .Arg("window_left", "int (default -1, open): keys kept left of the query's position")
      .Arg("window_right", "int (default -1, open): keys kept right of the query's position")
      .Arg("align", "string (default top_left): top_left or bottom_right")
      .Arg("has_key_lengths", "int, 0 or 1 (default 0): there are key_lengths")
      .Arg("has_used_keys", "int, 0 or 1 (default 0): there are used_keys")
      .Arg("has_sinks", "int, 0 or 1 (default 0): there are sinks")
      .Arg("scale", "float (default 1 / sqrt(D)): what Q K^T is multiplied by")
      .Arg("softcap", "float (default 0, none): bound of the scores")
      .Arg("empty_row", "string (default zero): zero, nan or uniform")
      .Input(0, "Q", "(Tensor<float16, bfloat16, float or double>) `[Tq, H, D]`")
      .Input(1, "K", "(Tensor) `[Tk, Hkv, D]`, of Q's type")
      .Input(2, "V", "(Tensor) `[Tk, Hkv, Dv]`, of Q's type")
      .Input(3, "lengths", "(Tensor<int32 or int64>) `[B]`, rows of each sequence, of Q and of K")
      .Input(
          4, "key_lengths",
          "(Tensor<int32 or int64>) `[B]`, rows of each sequence of K and V; the first of the "
          "optional inputs that there are")
      .Input(5, "used_keys", "(Tensor<int32 or int64>) `[B]`, of each sequence the keys in use")
      .Input(6, "sinks", "(Tensor) `[H]`, of Q's type")
      .Output(0, "O", "(Tensor) `[Tq, H, Dv]`, of Q's type")
      .Output(
          1, "LSE",
          "(Tensor<float>, double where Q is) `[Tq, H]`, logarithm of the sum of exp(s) over what "
          "is kept, and of the exp of its sink");
}

void FillMaskedAttentionJaggedGradientSchema(OpSchema& schema) {
  schema.NumInputs(5, 11)
      .NumOutputs(3, 4)
      .SetDoc(R"DOC(
The gradient of MaskedAttentionJagged, made by its gradient maker, to Q, K, V and the sinks, of each
sequence as MaskedAttentionGradient computes it.

Takes the arguments of MaskedAttentionJagged, and those that say which of its first inputs there are: O
and LSE where MaskedAttentionJagged has named both, else it is computed again; dO and dLSE where they
have a gradient.
)DOC")
      .Arg("has_outputs", "int, 0 or 1 (default 1): there are O and LSE")
      .Arg("has_d_o", "int, 0 or 1 (default 1): there is a dO")
      .Arg("has_d_lse", "int, 0 or 1 (default 0): there is a dLSE")
      .Input(0, "O", "(Tensor) output of MaskedAttentionJagged")
      .Input(1, "LSE", "(Tensor<float or double>) its second output")
      .Input(2, "dO", "(Tensor) of O's shape and type")
      .Input(
          3, "dLSE",
          "(Tensor) of LSE's shape and type; behind it the inputs of MaskedAttentionJagged")
      .Input(4, "Q", "(Tensor) as for MaskedAttentionJagged")
      .Input(5, "K", "(Tensor) as for MaskedAttentionJagged")
      .Input(6, "V", "(Tensor) as for MaskedAttentionJagged")
      .Input(7, "lengths", "(Tensor<int32 or int64>) as for MaskedAttentionJagged")
      .Input(8, "key_lengths", "(Tensor<int32 or int64>) as for MaskedAttentionJagged")
      .Input(9, "used_keys", "(Tensor<int32 or int64>) as for MaskedAttentionJagged")
      .Input(10, "sinks", "(Tensor) as for MaskedAttentionJagged")
      .Output(0, "dQ", "(Tensor) of Q's shape and type")
      .Output(1, "dK", "(Tensor) of K's shape and type")
      .Output(2, "dV", "(Tensor) of V's shape and type")
      .Output(3, "dsinks", "(Tensor) of the sinks' shape and type");
}

}  // namespace mask
}  // namespace caffe2
