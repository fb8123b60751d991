#include "contracts/masked_attention.h"

#include <algorithm>
#include <cmath>

#include "contracts/check.h"

namespace caffe2op_mask {
namespace {

constexpr const char* kScores = "the scores";

bool HasHeads(const TensorView& q) {
  return q.rank() == 4;
}

InputRows RowsOf(const TensorView& tensor) {
  return {tensor.data, RowStridesOf(tensor.sizes, tensor.strides)};
}

}  // namespace

RowStrides RowStridesOf(Sizes sizes, Sizes strides) {
  // Without a dim of heads there is one of them, which is not stepped to.
  const bool has_heads = sizes.rank() == 4;
  if (strides.rank() > 0) {
    return {strides[0], has_heads ? strides[1] : 0, strides.FromBack(2)};
  }
  return {Product(sizes.From(1)), has_heads ? Product(sizes.From(2)) : 0, sizes.FromBack(1)};
}

RowStrides EntryStridesOf(Sizes sizes, Sizes strides) {
  const Dims rows = Dims(sizes).Append(Dims{1});
  return strides.rank() == 0 ? RowStridesOf(rows)
                             : RowStridesOf(rows, Dims(strides).Append(Dims{1}));
}

AttentionContract::AttentionContract(const char* op, const AttentionOptions& options)
    : op_(op),
      scores_(op, options.scores),
      softcap_(options.softcap.AsDouble()),
      bottom_right_(options.align == "bottom_right") {
  Require(
      bottom_right_ || options.align == "top_left", op,
      ": argument align must be top_left or bottom_right, but is '", options.align, "'.");
  Require(
      softcap_ >= 0 && std::isfinite(softcap_), op,
      ": argument softcap must be a number of at least 0, but is ", softcap_, ".");
}

// Throws unless `tensor` is of these sizes, of which -1 is any, and of the type of Q.
void AttentionContract::CheckSizes(
    const char* name, const TensorView& tensor, const TensorView& q, Sizes sizes,
    const char* meaning) const {
  const auto fits = [](int64_t expected, int64_t size) {
    return expected == -1 || expected == size;
  };
  Require(
      tensor.rank() == sizes.rank() &&
          std::equal(sizes.begin(), sizes.end(), tensor.sizes.begin(), fits),
      op_, ": ", name, " must be of shape ", meaning, ", but is of shape ", tensor.sizes,
      " where Q is of shape ", q.sizes, ".");
  CheckSameType(op_, name, tensor, "Q", q);
}

void AttentionContract::CheckHeads(const Attention& in) const {
  Require(
      in.kv_heads == 0 ? in.heads == 0 : in.heads % in.kv_heads == 0, op_,
      ": the heads of Q must be a multiple of those of K and V, but Q has ", in.heads,
      " and K has ", in.kv_heads, ".");
}

void AttentionContract::BindOptions(
    const TensorView& q, const TensorView& sinks, const char* meaning, Attention* in) const {
  if (scores_.has_sinks()) {
    CheckSizes("sinks", sinks, q, Dims{in->heads}, meaning);
    in->sinks = sinks.data;
  }
  const double depth = static_cast<double>(std::max<int64_t>(in->depth, 1));
  in->scale = scores_.Scale(1 / std::sqrt(depth), in->type);
  CheckHolds(op_, "softcap", softcap_, WideOf(in->type));
  in->softcap = softcap_;
  in->empty_row = scores_.empty_row();
}

// How far the queries stand from their own index: so that the last stands on the last key.
std::vector<int64_t> AttentionContract::Shifts(
    const TensorView* lengths, int64_t queries, int64_t keys) const {
  if (lengths == nullptr) return {keys - queries};
  std::vector<int64_t> shifts(static_cast<size_t>(lengths->numel()));
  for (size_t i = 0; i < shifts.size(); ++i) {
    const int64_t length =
        lengths->Is(ElementType::kInt32) ? lengths->As<int32_t>()[i] : lengths->As<int64_t>()[i];
    shifts[i] = std::clamp<int64_t>(length, 0, keys) - queries;
  }
  return shifts;
}

void AttentionContract::Bind(
    const TensorView& q, const TensorView& k, const TensorView& v, const ScoreInputs& inputs,
    Bound* bound) const {
  Attention& in = bound->attention;
  in.type = RealType(op_, "Q", q);
  Require(
      q.rank() == 4 || q.rank() == 3, op_,
      ": Q must be of shape [B, H, Lq, D] or [B, Lq, D], but is of shape ", q.sizes, ".");
  // Without a dim of heads there is one of them, of Q as of K and V.
  const bool has_heads = HasHeads(q);
  in.batch = q.sizes[0];
  in.heads = has_heads ? q.sizes[1] : 1;
  in.queries = q.sizes.FromBack(2);
  in.depth = q.sizes.FromBack(1);
  Dims sizes = q.sizes;
  if (has_heads) sizes[1] = -1;
  sizes.FromBack(2) = -1;
  CheckSizes("K", k, q, sizes, has_heads ? "[B, Hkv, Lk, D]" : "[B, Lk, D]");
  in.kv_heads = has_heads ? k.sizes[1] : 1;
  in.keys = k.sizes.FromBack(2);
  sizes = k.sizes;
  sizes.FromBack(1) = -1;
  CheckSizes("V", v, q, sizes, has_heads ? "[B, Hkv, Lk, Dv] of K" : "[B, Lk, Dv] of K");
  in.value_depth = v.sizes.FromBack(1);
  CheckHeads(in);
  Dims scores = q.sizes;
  scores.FromBack(1) = in.keys;
  if (bottom_right_) {
    const TensorView* lengths = nullptr;
    if (scores_.Reads(kLengths)) {
      lengths = &inputs.of_rows[kLengths];
      scores_.RowsOf(kLengths, *lengths, kScores, scores);  // checked before they are read
    }
    bound->shifts = Shifts(lengths, in.queries, in.keys);
  }
  in.mask = scores_.Mask(inputs, kScores, scores, bottom_right_ ? bound->shifts.data() : nullptr);
  if (scores_.has_bias()) {
    in.bias_rows = scores_.BiasRows(inputs.bias, kScores, scores, q);
    in.bias = inputs.bias.data;
  }
  in.q = RowsOf(q);
  in.k = RowsOf(k);
  in.v = RowsOf(v);
  BindOptions(q, inputs.sinks, has_heads ? "[H]" : "[1]", &in);
}

void AttentionContract::CheckOutputs(const TensorView& q, Sizes o, bool lse) const {
  CheckOutputSize(op_, "O", o, q);
  // With Dv = 0, O has no entries however many LSE has.
  if (lse) CheckOutputSize(op_, "LSE", LogSumExpSizes(o), WideOf(RealOf(q.type)));
}

InputRows AttentionContract::OutputRowsOf(
    const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const {
  CheckSizes(name, tensor, q, o, HasHeads(q) ? "[B, H, Lq, Dv]" : "[B, Lq, Dv]");
  return RowsOf(tensor);
}

InputRows AttentionContract::LogSumExpsOf(
    const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const {
  const ElementType type = WideOf(RealOf(q.type));
  Require(
      tensor.Is(type) && tensor.sizes == LogSumExpSizes(o), op_, ": ", name, " must be of shape ",
      HasHeads(q) ? "[B, H, Lq]" : "[B, Lq]", " and type ", NameOf(type), ", but is of shape ",
      tensor.sizes, " and type ", tensor.type_name(), ".");
  return {tensor.data, EntryStridesOf(tensor.sizes, tensor.strides)};
}

}  // namespace caffe2op_mask
