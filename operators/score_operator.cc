#include "operators/score_operator.h"

#include <string>

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

void CheckScoreInputs(
    const OperatorDef& def, const ScoreContract& contract, const char* first, int first_count) {
  std::string names = first;
  int count = first_count;
  ScoreInputs none;
  contract.ForEach(&none, [&](const char* name, TensorView*) {
    names += std::string(", ") + name;
    ++count;
  });
  CAFFE_ENFORCE(
      def.input_size() == count, def.type(), ": by its mode and arguments has_* it takes ", count,
      count == 1 ? " input (" : " inputs (", names, "), but there ",
      def.input_size() == 1 ? "is " : "are ", def.input_size(), ".");
}

}  // namespace mask
}  // namespace caffe2
