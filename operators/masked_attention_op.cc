#include "operators/masked_attention_op.h"

#include <string>
#include <vector>

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

PaddedAttention::PaddedAttention(const OperatorDef& def, Workspace* ws, const char* op)
    : ScoreOperator(WithDistinctOutputs(def), ws),
      contract_(Checked([&] { return Contract(op, ReadAttentionOptions(def)); })) {}

void PaddedAttention::CheckInputs(const std::string& names, int count) {
  CheckScoreInputs(debug_def(), contract_.scores(), (names + "Q, K, V").c_str(), count + 3);
}

void PaddedAttention::BindInputs(int first, Contract::Bound* bound) {
  contract_.Bind(
      View(first), View(first + 1), View(first + 2), Views(contract_.scores(), first + 3), bound);
}

template class AttentionOp<PaddedAttention>;
template class AttentionGradientOp<PaddedAttention>;

void FillMaskedAttentionSchema(OpSchema& schema) {
  schema.NumInputs(3, 9)
      .NumOutputs(1, 2)
      .TensorInferenceFunction([](const OperatorDef& def, const std::vector<TensorShape>& in) {
        return InferAttention(def, in, /*fewest_dims=*/3, /*most_dims=*/4);
      })
      .SetDoc(R"DOC(
Attention over what a mask keeps: O = P V with P = softmax of the kept scores,
s = cap(scale * Q K^T) + bias, where cap(x) is x, or c * tanh(x / c) with a `softcap` c. The matrix of
scores is never stored. It is worked on in tiles with an online softmax; a tile of which nothing is
kept is never computed, forward or backward, and one that is kept whole is not tested for its mask, so
that time falls with what is kept.

Heads are grouped: H is a multiple of Hkv, and head h of Q reads head h / (H / Hkv) of K and V. Lq and
Lk may differ.

Q, K and V of 3 dims, `[B, Lq, D]`, `[B, Lk, D]` and `[B, Lk, Dv]`, have one head, as where heads are
merged into the batch: H is 1 and its dim is absent everywhere. O is `[B, Lq, Dv]`, LSE `[B, Lq]`, and
the scores are `[B, Lq, Lk]`.

What is kept is specified as for [MaskedSoftmax](#maskedsoftmax), for scores of `[B, H, Lq, Lk]`: by
`mode` (lengths are where the keys of a row end, left_pad is where they begin), by `window_left` and
`window_right`, and by a mask, all of which must keep an entry. Inputs behind V come in the order
lengths, centers, left_pad, mask, bias, sinks. Lengths, centers and left_pad have the shape `[B]`,
`[B, H]` or `[B, H, Lq]`, or are a vector of one for each row, `[B * H * Lq]`; mask and bias have any
shape that broadcasts to the scores.

`align` says where query i stands among the keys, for triangles and windows: top_left at i,
bottom_right at i + Lk - Lq, so that the last query stands on the last key; with lengths, at i +
lengths - Lq, as in decoding with a cache of keys and values that is longer than what it holds. A
left_pad moves no query.

`has_sinks` adds attention sinks: a learned logit for each head of Q, `[H]`, or `[1]` where the dim of
heads is absent. It is in the denominator of every row's softmax as one more key that has no value:
P_ij = exp(s_ij) / (sum of exp(s_ik) over what is kept + exp(sink)), so that the weights of a row add
up to less than 1. It is not scaled, capped, biased or masked. LSE includes it. So a row with a sink is
never empty: where nothing is kept O is 0, whatever `empty_row` says, and LSE is the sink. A sink of
-inf is none, and its gradient is 0; one of +inf or NaN shows as a key with such a score would.

A row of which nothing is kept, or whose kept scores are all -inf, is zero, NaN or the mean of the rows
of V, as `empty_row` says, and zero where there are no keys; its LSE is -inf, and no gradient goes from
it but to the V of a mean. Masked entries of K, V, bias and mask have no effect, NaN and infinity
included; kept ones do.

Float and double are computed as they are, 16-bit types in float.

The gradient goes to Q, K, V, bias and sinks, from O, LSE or both. It reads LSE: a net that trains should
name the second output. Where it does not, the gradient runs the forward pass once more.

Errors: Q, K or V not of 4 dims or of 3, all alike, of different types, or of dims that do not fit;
heads that are not a multiple; a number of inputs that does not fit `mode`, `has_mask`, `has_bias` and
`has_sinks`; sinks not of shape `[H]` or of another type than Q; an unknown mode, `align` or
`empty_row`; a negative radius or softcap; a `scale` that is not finite; a side of the window below -1;
lengths, centers or left_pad not int32 or int64, or not of the shape of leading dims of the scores, nor
one for each row; a mask that is not bool, a bias that is not of the type of Q, or either of a shape
that does not broadcast.

Source: Vaswani et al., "Attention Is All You Need" (2017); the online softmax of Milakov and
Gimelshein (2018); tiles and the backward pass of Dao et al., "FlashAttention" (2022); grouped heads of
Ainslie et al., "GQA" (2023); the softcap of "Gemma 2" (2024); left_pad as `leftpad_k` of
flash-attention; sinks of Xiao et al., "Efficient Streaming Language Models with Attention Sinks"
(2023), learned as in "gpt-oss" (2025).

**Example**

```
x = np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)
workspace.FeedBlob("Q", 10 * x)
workspace.FeedBlob("K", 0 * x)
workspace.FeedBlob("V", x)
op = core.CreateOperator("MaskedAttention", ["Q", "K", "V"], ["O", "LSE"], mode="upper")
workspace.RunOperatorOnce(op)
print(np.round(workspace.FetchBlob("O")[0, 0].astype(float), 3).tolist())
workspace.FeedBlob("lengths", np.array([2], dtype=np.int32))
op = core.CreateOperator("MaskedAttention", ["Q", "K", "V", "lengths"], ["O"], mode="sequence")
workspace.RunOperatorOnce(op)
print(workspace.FetchBlob("O")[0, 0].tolist())
```

**Result**

```
[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.333, 0.333, 0.333]]
[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
```
)DOC")
      .Arg("mode", WithShapes("string: none of, or some of {names}, joined by '+'"))
      .Arg("radius", "int (default 10): keys kept on each side of a window's center")
      .Arg("diagonal", "int (default 0): moves the boundary of a triangle to the right")
      .Arg("window_left", "int (default -1, open): keys kept left of the query's position")
      .Arg("window_right", "int (default -1, open): keys kept right of the query's position")
      .Arg("align", "string (default top_left): top_left or bottom_right")
      .Arg("has_mask", "int, 0 or 1 (default 0): there is a mask")
      .Arg("has_bias", "int, 0 or 1 (default 0): there is a bias")
      .Arg("has_sinks", "int, 0 or 1 (default 0): there are sinks")
      .Arg("scale", "float (default 1 / sqrt(D)): what Q K^T is multiplied by")
      .Arg("softcap", "float (default 0, none): bound of the scores")
      .Arg("empty_row", "string (default zero): zero, nan or uniform")
      .Input(0, "Q", "(Tensor<float16, bfloat16, float or double>) `[B, H, Lq, D]` or `[B, Lq, D]`")
      .Input(1, "K", "(Tensor) `[B, Hkv, Lk, D]` or `[B, Lk, D]`, of Q's type")
      .Input(2, "V", "(Tensor) `[B, Hkv, Lk, Dv]` or `[B, Lk, Dv]`, of Q's type")
      .Input(
          3, "lengths",
          "(Tensor<int32 or int64>) `[B]`, `[B, H]` or `[B, H, Lq]`; the first of the optional "
          "inputs that there are")
      .Input(4, "centers", "(Tensor<int32 or int64>) `[B]`, `[B, H]` or `[B, H, Lq]`")
      .Input(5, "left_pad", "(Tensor<int32 or int64>) `[B]`, `[B, H]` or `[B, H, Lq]`")
      .Input(6, "mask", "(Tensor<bool>) broadcast to `[B, H, Lq, Lk]`; True keeps")
      .Input(7, "bias", "(Tensor) of Q's type, broadcast to `[B, H, Lq, Lk]`")
      .Input(8, "sinks", "(Tensor) `[H]` or `[1]`, of Q's type")
      .Output(0, "O", "(Tensor) `[B, H, Lq, Dv]` or `[B, Lq, Dv]`, of Q's type")
      .Output(
          1, "LSE",
          "(Tensor<float>, double where Q is) `[B, H, Lq]` or `[B, Lq]`, logarithm of the sum of "
          "exp(s) over "
          "what is kept, and of the exp of its sink");
}

void FillMaskedAttentionGradientSchema(OpSchema& schema) {
  schema.NumInputs(4, 13)
      .NumOutputs(3, 5)
      .SetDoc(R"DOC(
The gradient of MaskedAttention, made by its gradient maker, to Q, K, V, the bias and the sinks. It
computes the probabilities again, tile by tile, from LSE, and skips what the forward pass skipped.

Takes the arguments of MaskedAttention, and those that say which of its first inputs there are: O and
LSE where MaskedAttention has named both, else it is computed again; dO and dLSE where they have a
gradient.
)DOC")
      .Arg("has_outputs", "int, 0 or 1 (default 1): there are O and LSE")
      .Arg("has_d_o", "int, 0 or 1 (default 1): there is a dO")
      .Arg("has_d_lse", "int, 0 or 1 (default 0): there is a dLSE")
      .Input(0, "O", "(Tensor) output of MaskedAttention")
      .Input(1, "LSE", "(Tensor<float or double>) its second output")
      .Input(2, "dO", "(Tensor) of O's shape and type")
      .Input(3, "dLSE", "(Tensor) of LSE's shape and type; behind it the inputs of MaskedAttention")
      .Input(4, "Q", "(Tensor) as for MaskedAttention")
      .Input(5, "K", "(Tensor) as for MaskedAttention")
      .Input(6, "V", "(Tensor) as for MaskedAttention")
      .Input(7, "lengths", "(Tensor<int32 or int64>) as for MaskedAttention")
      .Input(8, "centers", "(Tensor<int32 or int64>) as for MaskedAttention")
      .Input(9, "left_pad", "(Tensor<int32 or int64>) as for MaskedAttention")
      .Input(10, "mask", "(Tensor<bool>) as for MaskedAttention")
      .Input(11, "bias", "(Tensor) as for MaskedAttention")
      .Input(12, "sinks", "(Tensor) as for MaskedAttention")
      .Output(0, "dQ", "(Tensor) of Q's shape and type")
      .Output(1, "dK", "(Tensor) of K's shape and type")
      .Output(2, "dV", "(Tensor) of V's shape and type")
      .Output(
          3, "dbias", "(Tensor) of the bias's shape and type; the first of those that there are")
      .Output(4, "dsinks", "(Tensor) of the sinks' shape and type");
}

}  // namespace mask
}  // namespace caffe2
