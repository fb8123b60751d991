#pragma once

// What an operator is told in its definition, read once and checked: an error
// names the operator, the argument, what was expected and what came.

#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "caffe2/core/operator.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

// A number as it was given. Caffe2 keeps an int argument as int64 and a float
// argument as float32; one that float32 does not hold comes as a string. A fill
// value must not lose bits of any.
struct Number {
  bool integral;
  int64_t i;
  double f;

  double AsDouble() const { return integral ? static_cast<double>(i) : f; }
};

// With as many digits as it takes to know the number from all others of float32, or, if it
// is none of these, of float64.
std::string ToString(double number);
std::string ToString(const Number& number);

// The value of argument `name` as a T. Throws where it is beyond T, or so small that T has
// only 0 for it.
template <typename T>
T NumberAs(const std::string& op, const char* name, double value) {
  const bool holds =
      !std::isfinite(value) || (std::abs(value) <= double{std::numeric_limits<T>::max()} &&
                                (value == 0 || static_cast<T>(value) != 0));
  CAFFE_ENFORCE(
      holds, op, ": argument ", name, " is ", ToString(value), ", which ",
      TypeName(TypeMeta::Make<T>()), " cannot hold.");
  return static_cast<T>(value);
}

class Arguments {
 public:
  explicit Arguments(const OperatorDef& def) : def_(def) {}

  bool Has(const std::string& name) const { return Find(name) != nullptr; }
  int64_t Int(const std::string& name, int64_t fallback) const;
  std::optional<int64_t> OptionalInt(const std::string& name) const;
  bool Bool(const std::string& name, bool fallback) const;
  // A float, an int or a string that holds a decimal number, inf, -inf or nan.
  Number Float(const std::string& name, float fallback) const;
  std::string String(const std::string& name, const std::string& fallback) const;

 private:
  const Argument* Find(const std::string& name) const;

  const OperatorDef& def_;
};

}  // namespace mask
}  // namespace caffe2
