#include "contracts/masked_attention_jagged.h"

#include <algorithm>
#include <optional>

#include "contracts/check.h"

namespace caffe2op_mask {
namespace {

// The integers of an input of one dim.
class Integers {
 public:
  Integers(const char* op, const char* name, const TensorView& tensor)
      : data_(tensor.data), is_int32_(IsInt32(op, name, tensor)) {
    Require(
        tensor.rank() == 1, op, ": ", name, " must have 1 dim, but is of shape ", tensor.sizes,
        ".");
    count_ = tensor.sizes[0];
  }

  int64_t count() const { return count_; }
  int64_t operator[](int64_t i) const {
    return is_int32_ ? static_cast<const int32_t*>(data_)[i]
                     : static_cast<const int64_t*>(data_)[i];
  }

 private:
  const void* data_;
  bool is_int32_;
  int64_t count_ = 0;
};

// The rows [begin, end) of each sequence, as offsets cut the `rows` of an input.
std::vector<Interval> CutByOffsets(
    const char* op, const char* name, const Integers& offsets, const char* of, int64_t rows) {
  const int64_t sequences = offsets.count() - 1;
  Require(
      sequences >= 0, op, ": ", name,
      " must have an entry for each sequence and one for the end of the last, but has none.");
  Require(offsets[0] == 0, op, ": ", name, " must begin with 0, but begins with ", offsets[0], ".");
  std::vector<Interval> cut;
  for (int64_t i = 0; i < sequences; ++i) {
    const Interval one{offsets[i], offsets[i + 1]};
    Require(
        one.begin <= one.end, op, ": ", name, " must not decrease, but ", name, "[", i + 1, "] is ",
        one.end, " behind ", one.begin, ".");
    cut.push_back(one);
  }
  Require(
      offsets[sequences] == rows, op, ": ", name, " must end with the ", rows, " rows of ", of,
      ", but ends with ", offsets[sequences], ".");
  return cut;
}

// The same, as lengths do.
std::vector<Interval> CutByLengths(
    const char* op, const char* name, const Integers& lengths, const char* of, int64_t rows) {
  int64_t end = 0;
  std::vector<Interval> cut;
  for (int64_t i = 0; i < lengths.count(); ++i) {
    const int64_t length = lengths[i];
    Require(
        length >= 0, op, ": ", name, " must not be negative, but ", name, "[", i, "] is ", length,
        ".");
    Require(
        length <= rows - end, op, ": ", name, " must add up to the ", rows, " rows of ", of,
        ", but pass them at ", name, "[", i, "].");
    cut.push_back({end, end + length});
    end += length;
  }
  Require(
      end == rows, op, ": ", name, " must add up to the ", rows, " rows of ", of,
      ", but add up to ", end, ".");
  return cut;
}

InputRows JaggedRowsOf(const TensorView& tensor) {
  return {tensor.data, JaggedStridesOf(tensor.sizes, tensor.strides)};
}

}  // namespace

RowStrides JaggedStridesOf(Sizes sizes, Sizes strides) {
  if (strides.rank() > 0) return {0, strides[1], strides[0]};
  return {0, Product(sizes.From(2)), Product(sizes.From(1))};
}

JaggedAttentionContract::JaggedAttentionContract(const char* op, const AttentionOptions& options)
    : op_(op), attention_(op, options) {
  Require(!scores().has_mask(), op, ": argument has_mask must be 0, but is 1.");
  Require(!scores().has_bias(), op, ": argument has_bias must be 0, but is 1.");
  const std::vector<RowInput>& inputs = scores().row_inputs();
  Require(
      inputs.empty(), op, ": argument mode must be of shapes that read no input, but '",
      options.scores.shape.mode, "' reads ", inputs.empty() ? "" : NameOf(inputs[0]), ".");
}

std::vector<Sequence> JaggedAttentionContract::Cut(
    const JaggedInputs& inputs, int64_t query_rows, int64_t key_rows, int64_t heads) const {
  const auto cut = [&](const char* name, const TensorView& tensor, const char* of, int64_t rows) {
    const Integers numbers(op_, name, tensor);
    return inputs.by == JaggedInputs::By::kOffsets ? CutByOffsets(op_, name, numbers, of, rows)
                                                   : CutByLengths(op_, name, numbers, of, rows);
  };
  const bool self = inputs.keys == nullptr;
  const char* const keys_name = self ? inputs.queries_name : inputs.keys_name;
  const std::vector<Interval> queries = cut(inputs.queries_name, *inputs.queries, "Q", query_rows);
  const std::vector<Interval> keys =
      cut(keys_name, self ? *inputs.queries : *inputs.keys, "K", key_rows);
  const auto count = static_cast<int64_t>(queries.size());
  Require(
      keys.size() == queries.size(), op_, ": ", keys_name, " must be of as many sequences as ",
      inputs.queries_name, ", ", count, ", but is of ", static_cast<int64_t>(keys.size()), ".");
  std::optional<Integers> used;
  if (inputs.used_keys != nullptr) {
    used.emplace(op_, inputs.used_keys_name, *inputs.used_keys);
    Require(
        used->count() == count, op_, ": ", inputs.used_keys_name,
        " must have an entry for each sequence, ", count, ", but has ", used->count(), ".");
  }
  std::vector<Sequence> sequences(queries.size());
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    Sequence& one = sequences[at];
    one.queries = queries[at].end - queries[at].begin;
    one.keys = keys[at].end - keys[at].begin;
    if (used) {
      const int64_t all = one.keys;
      one.keys = (*used)[i];
      Require(
          one.keys >= 0 && one.keys <= all, op_, ": ", inputs.used_keys_name,
          " must be between 0 and the keys of its sequence, ", all, ", but ", inputs.used_keys_name,
          "[", i, "] is ", one.keys, ".");
      one.unused_keys = all - one.keys;
    }
    one.first_query = queries[at].begin;
    one.first_key = keys[at].begin;
    one.first_row = Product(Dims{heads, one.first_query});
    one.shift = attention_.bottom_right_ ? one.keys - one.queries : 0;
  }
  return sequences;
}

void JaggedAttentionContract::Bind(
    const TensorView& q, const TensorView& k, const TensorView& v, const JaggedInputs& inputs,
    const TensorView& sinks, Bound* bound) const {
  Attention& in = bound->attention;
  in.type = RealType(op_, "Q", q);
  Require(q.rank() == 3, op_, ": Q must be of shape [Tq, H, D], but is of shape ", q.sizes, ".");
  attention_.CheckSizes("K", k, q, Dims{-1, -1, q.sizes[2]}, "[Tk, Hkv, D]");
  attention_.CheckSizes("V", v, q, Dims{k.sizes[0], k.sizes[1], -1}, "[Tk, Hkv, Dv] of K");
  in.heads = q.sizes[1];
  in.kv_heads = k.sizes[1];
  in.depth = q.sizes[2];
  in.value_depth = v.sizes[2];
  attention_.CheckHeads(in);
  bound->sequences = Cut(inputs, q.sizes[0], k.sizes[0], in.heads);
  in.sequences = bound->sequences.data();
  in.batch = static_cast<int64_t>(bound->sequences.size());
  in.queries = 0;
  in.keys = 0;
  for (const Sequence& one : bound->sequences) {
    in.queries = std::max(in.queries, one.queries);
    in.keys = std::max(in.keys, one.keys);
  }
  in.mask.shape = scores().Shape();
  in.q = JaggedRowsOf(q);
  in.k = JaggedRowsOf(k);
  in.v = JaggedRowsOf(v);
  attention_.BindOptions(q, sinks, "[H]", &in);
}

InputRows JaggedAttentionContract::OutputRowsOf(
    const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const {
  attention_.CheckSizes(name, tensor, q, o, "[Tq, H, Dv]");
  return JaggedRowsOf(tensor);
}

InputRows JaggedAttentionContract::LogSumExpsOf(
    const char* name, const TensorView& tensor, const TensorView& q, Sizes o) const {
  CheckIs(op_, name, tensor, LogSumExpSizes(o), WideOf(RealOf(q.type)));
  return JaggedRowsOf(tensor);
}

}  // namespace caffe2op_mask
