#pragma once

// The arguments of a definition, by type: an error names the operator, the argument, what was
// expected and what came. Texts are the definition's own.

#include <optional>
#include <string_view>

#include "caffe2/core/operator.h"
#include "contracts/mask_shape.h"
#include "contracts/number.h"
#include "contracts/scores.h"

namespace caffe2 {
namespace mask {

class Arguments {
 public:
  explicit Arguments(const OperatorDef& def) : def_(def) {}

  bool Has(const char* name) const { return Find(name) != nullptr; }
  std::optional<int64_t> OptionalInt(const char* name) const;
  int64_t Int(const char* name, int64_t fallback) const {
    return OptionalInt(name).value_or(fallback);
  }
  std::optional<bool> OptionalBool(const char* name) const;
  bool Bool(const char* name, bool fallback) const { return OptionalBool(name).value_or(fallback); }
  // A float, an int or a string that holds a decimal number, inf, -inf or nan: Caffe2 keeps an int
  // argument as int64 and a float argument as float32; one that float32 does not hold comes as a
  // string.
  std::optional<caffe2op_mask::Number> OptionalNumber(const char* name) const;
  std::string_view String(const char* name, const char* fallback) const;

 private:
  const Argument* Find(const char* name) const;

  const OperatorDef& def_;
};

// What operators with a mask shape, and those on scores, are asked for.
caffe2op_mask::ShapeOptions ReadShapeOptions(const OperatorDef& def);
caffe2op_mask::ScoreOptions ReadScoreOptions(const OperatorDef& def);

}  // namespace mask
}  // namespace caffe2
