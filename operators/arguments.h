#pragma once

// What an operator is told in its definition, read once and checked: an error
// names the operator, the argument, what was expected and what came.

#include <optional>
#include <string>

#include "caffe2/core/operator.h"

namespace caffe2 {
namespace mask {

// A number as it was given. Caffe2 keeps an int argument as int64 and a float
// argument as float32, and a fill value must not lose bits of either.
struct Number {
  bool integral;
  int64_t i;
  float f;

  double AsDouble() const { return integral ? static_cast<double>(i) : double{f}; }
};

std::string ToString(const Number& number);

class Arguments {
 public:
  explicit Arguments(const OperatorDef& def) : def_(def) {}

  bool Has(const std::string& name) const { return Find(name) != nullptr; }
  int64_t Int(const std::string& name, int64_t fallback) const;
  std::optional<int64_t> OptionalInt(const std::string& name) const;
  bool Bool(const std::string& name, bool fallback) const;
  Number Float(const std::string& name, float fallback) const;
  std::string String(const std::string& name, const std::string& fallback) const;

 private:
  const Argument* Find(const std::string& name) const;

  const OperatorDef& def_;
};

}  // namespace mask
}  // namespace caffe2
