#pragma once

// Running error analysis: numbers in double, each with a bound on how far from it a
// kernel may be that computes with a type W, in whatever order it sums.
//
// Source: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), chapters 3
// and 4.

#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "tests/reference/real.h"

namespace caffe2op_mask {
namespace reference {

// What an operation may lose of its result: half of it in W, and the other half is
// room for what double itself loses here.
template <typename W>
constexpr double kUnit = std::numeric_limits<W>::epsilon();

template <typename W>
struct Rounded {
  Rounded() = default;
  // Exactly this.
  explicit Rounded(double value) : value(value) {}
  // The result of an operation on what was off by enough to make it off by `error`.
  Rounded(double value, double error) : value(value) {
    // What is infinite or NaN is so for both.
    if (!std::isfinite(value)) return;
    this->error = error + kUnit<W> * std::fabs(value) + std::numeric_limits<W>::denorm_min();
  }

  double value = 0;
  double error = 0;
};

template <typename W>
Rounded<W> operator+(Rounded<W> a, Rounded<W> b) {
  return {a.value + b.value, a.error + b.error};
}

template <typename W>
Rounded<W> operator-(Rounded<W> a, Rounded<W> b) {
  return {a.value - b.value, a.error + b.error};
}

template <typename W>
Rounded<W> operator*(Rounded<W> a, Rounded<W> b) {
  return {
      a.value * b.value,
      std::fabs(a.value) * b.error + std::fabs(b.value) * a.error + a.error * b.error};
}

// Also by a product with 1 / b.
template <typename W>
Rounded<W> operator/(Rounded<W> a, Rounded<W> b) {
  const double quotient = a.value / b.value;
  const double size = std::fabs(quotient);
  return {quotient, (a.error + size * b.error) / (std::fabs(b.value) - b.error) + kUnit<W> * size};
}

// Functions of a kernel may be off by some units, and what is below the normal
// numbers may be 0.

template <typename W>
Rounded<W> Exp(Rounded<W> x) {
  const double e = std::exp(x.value);
  return {e, e * (std::expm1(x.error) + 8 * kUnit<W>)+std::numeric_limits<W>::min()};
}

template <typename W>
Rounded<W> Log(Rounded<W> x) {
  const double log = std::log(x.value);
  return {log, x.error / (x.value - x.error) + 2 * kUnit<W> * std::fabs(log)};
}

template <typename W>
Rounded<W> Tanh(Rounded<W> x) {
  const double t = std::tanh(x.value);
  return {t, x.error + 8 * kUnit<W> * std::fabs(t)};
}

// Stored as an element of type T.
template <typename T, typename W>
Rounded<W> Stored(Rounded<W> x) {
  if (std::is_same<T, W>::value || !std::isfinite(x.value)) return x;
  const auto ulp = static_cast<double>(Ulp<T>(std::fabs(x.value) + x.error));
  return {x.value, x.error + ulp / 2};
}

// A sum, in any order: each addition may lose a unit of all that there is.
template <typename W>
class Sum {
 public:
  void Add(Rounded<W> term) {
    value_ += term.value;
    error_ += term.error;
    magnitude_ += std::fabs(term.value);
    terms_ += 1;
  }

  Rounded<W> Total() const { return {value_, error_ + terms_ * kUnit<W> * magnitude_}; }

 private:
  double value_ = 0;
  double error_ = 0;
  double magnitude_ = 0;
  double terms_ = 0;
};

// The sum of a[i * a_step] * b[i * b_step], which are exact.
template <typename W>
Rounded<W> Dot(const double* a, size_t a_step, const double* b, size_t b_step, size_t terms) {
  double value = 0;
  double magnitude = 0;
  for (size_t i = 0; i < terms; ++i) {
    const double product = a[i * a_step] * b[i * b_step];
    value += product;
    magnitude += std::fabs(product);
  }
  const auto roundings = static_cast<double>(terms + 1);
  return {value, roundings * (kUnit<W> * magnitude + double{std::numeric_limits<W>::denorm_min()})};
}

}  // namespace reference
}  // namespace caffe2op_mask
