#include "operators/attention_operator.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

AttentionOptions ReadAttentionOptions(const OperatorDef& def) {
  const Arguments arguments(def);
  AttentionOptions options;
  options.scores = ReadScoreOptions(def);
  options.softcap = arguments.OptionalNumber("softcap").value_or(options.softcap);
  options.align = arguments.String("align", "top_left");
  return options;
}

std::vector<TensorShape> InferAttention(
    const OperatorDef& def, const std::vector<TensorShape>& in, int fewest_dims, int most_dims) {
  std::vector<TensorShape> out(2);  // O and LSE, which may not be asked for
  const int rank = in[0].dims_size();
  const bool known = rank >= fewest_dims && rank <= most_dims && in[2].dims_size() == rank;
  for (TensorShape& shape : out) {
    shape.set_data_type(in[0].data_type());
    shape.set_unknown_shape(!known);
  }
  if (known) {
    const Dims sizes = AttentionSizes(DimsOf(in[0]), DimsOf(in[2]));
    SetDims(sizes, &out[0]);
    SetDims(LogSumExpSizes(sizes), &out[1]);
  }
  if (in[0].data_type() != TensorProto_DataType_DOUBLE) {
    out[1].set_data_type(TensorProto_DataType_FLOAT);
  }
  out.resize(static_cast<size_t>(def.output_size()));
  return out;
}

}  // namespace mask
}  // namespace caffe2
