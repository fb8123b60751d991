#include "operators/known_arguments.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace caffe2 {
namespace mask {
namespace {

// What Caffe2 gives to operators whether or not they have it.
const char* const kOfAnyOperator[] = {
    // ModelHelper's arg_scope, and that of CNNModelHelper: brew passes it to every helper that
    // takes keyword arguments, which may pass it on.
    "order",
    "use_cudnn",
    "cudnn_exhaustive_search",
    "ws_nbytes_limit",
    // An arg_scope of a net that only predicts.
    "is_test",
    // The place of an operator in its net, which transformations for a backend write into all.
    "net_pos",
};

void AddNames(const std::string& type, std::vector<std::string>* names) {
  const OpSchema* const schema = OpSchemaRegistry::Schema(type);
  if (schema == nullptr) return;
  for (const auto& argument : schema->args()) {
    if (std::count(names->begin(), names->end(), argument.name()) == 0) {
      names->push_back(argument.name());
    }
  }
}

std::vector<std::string> NamesOf(const std::string& type) {
  static const std::string kGradient = "Gradient";
  std::vector<std::string> names;
  AddNames(type, &names);
  if (type.size() > kGradient.size()) {
    const size_t end = type.size() - kGradient.size();
    if (type.compare(end, std::string::npos, kGradient) == 0) AddNames(type.substr(0, end), &names);
  }
  return names;
}

bool BeginsWith(const std::string& text, const std::string& with) {
  return text.compare(0, with.size(), with) == 0;
}

// How many letters must be put in, left out or exchanged to make one of the other; 1 where one is
// the beginning of the other.
size_t Distance(const std::string& a, const std::string& b) {
  if (BeginsWith(a, b) || BeginsWith(b, a)) return 1;
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t exchanged = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({exchanged, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// "; the nearest is 'mode', of mode, radius and diagonal."
std::string Instead(const std::string& given, const std::vector<std::string>& names) {
  if (names.empty()) return ", nor any other.";
  const auto nearest =
      std::min_element(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
        return Distance(given, a) < Distance(given, b);
      });
  std::string text = "; the nearest is '" + *nearest + "'";
  for (const std::string& name : names) {
    text += (&name == &names.front() ? ", of " : ", ") + name;
  }
  return text + ".";
}

}  // namespace

void CheckKnownArguments(const OperatorDef& def) {
  if (def.arg_size() == 0) return;
  const std::vector<std::string> names = NamesOf(def.type());
  for (const Argument& argument : def.arg()) {
    const std::string& name = argument.name();
    const bool known = std::count(names.begin(), names.end(), name) > 0 ||
                       std::count(std::begin(kOfAnyOperator), std::end(kOfAnyOperator), name) > 0;
    CAFFE_ENFORCE(known, def.type(), ": it has no argument '", name, "'", Instead(name, names));
  }
}

}  // namespace mask
}  // namespace caffe2
