#include "gradients/masked_attention_gradient.h"

namespace caffe2 {
namespace mask {

std::vector<OperatorDef> GetMaskedAttentionGradient::GetGradientDefs() {
  CAFFE_ENFORCE(
      def_.output_size() == 2,
      "MaskedAttention: its gradient reads LSE, so that a net that trains must name both outputs, "
      "O "
      "and LSE, but it names ",
      def_.output_size(), ".");
  CAFFE_ENFORCE(
      g_output_[0].IsDense(),
      "MaskedAttention: there must be a dense gradient of O, but there is "
      "none.");
  std::vector<std::string> inputs{O(0), O(1), GO(0)};
  const bool has_d_lse = !g_output_[1].IsEmpty();
  if (has_d_lse) inputs.push_back(GO(1));
  for (int i = 0; i < def_.input_size(); ++i) inputs.push_back(I(i));
  std::vector<std::string> outputs{GI(0), GI(1), GI(2)};
  if (ArgumentHelper(def_).GetSingleArgument<bool>("has_bias", false)) {
    outputs.push_back(GI(def_.input_size() - 1));
  }
  std::vector<Argument> arguments;
  if (has_d_lse) arguments.push_back(MakeArgument<int>("has_d_lse", 1));
  // Arguments of the operator are added to these.
  return SingleGradientDef("MaskedAttentionGradient", "", inputs, outputs, arguments);
}

}  // namespace mask
}  // namespace caffe2
