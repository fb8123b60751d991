#pragma once

// Numbers of arguments, which must not lose bits on their way.

#include <cmath>
#include <cstdint>
#include <string_view>

namespace caffe2op_mask {

// As it was given: an integer, or a real number.
struct Number {
  bool integral = false;
  int64_t i = 0;
  double f = 0;

  double AsDouble() const { return integral ? static_cast<double>(i) : f; }
};

inline Number RealNumber(double value) {
  return {false, 0, value};
}

// Reads all of `text` as a decimal number, inf, -inf or nan, rounded to the nearest double,
// whatever the locale; false where it is none, or beyond double.
bool ParseNumber(std::string_view text, double* number);

}  // namespace caffe2op_mask
