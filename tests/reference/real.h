#pragma once

// Binary floating point by plain arithmetic, on the definitions of IEEE 754.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/real.h"
#include "kernels/real_block.h"
#include "tests/reference/bytes.h"

namespace caffe2op_mask {
namespace reference {

// Normal numbers are (1 + fraction) 2^exponent, with exponents from min_exponent to
// 1 - min_exponent; below them the exponent stays and the fraction is all.
struct Format {
  int fraction_bits;
  int min_exponent;
};

template <typename T>
constexpr Format FormatOf() {
  return {std::numeric_limits<T>::digits - 1, std::numeric_limits<T>::min_exponent - 1};
}
template <>
constexpr Format FormatOf<Float16>() {
  return {10, -14};
}
template <>
constexpr Format FormatOf<BFloat16>() {
  return {7, -126};
}

// From v to the next number of type T, away from zero.
template <typename T>
long double Ulp(long double v) {
  constexpr Format format = FormatOf<T>();
  const int exponent = v == 0 ? format.min_exponent : std::max(std::ilogb(v), format.min_exponent);
  return std::ldexp(1.0L, exponent - format.fraction_bits);
}

template <typename T>
double ValueOf(T v) {
  return v;
}

template <typename T>
double ValueOfBits(uint16_t bits) {
  constexpr Format format = FormatOf<T>();
  const int fraction = bits & ((1 << format.fraction_bits) - 1);
  const int exponent = (bits & 0x7FFF) >> format.fraction_bits;
  const double sign = (bits & 0x8000) == 0 ? 1 : -1;
  if (exponent == 0x7FFF >> format.fraction_bits) {
    const double special = fraction == 0 ? std::numeric_limits<double>::infinity()
                                         : std::numeric_limits<double>::quiet_NaN();
    return std::copysign(special, sign);
  }
  const int whole = exponent == 0 ? 0 : 1 << format.fraction_bits;
  return sign * std::ldexp(
                    whole + fraction,
                    std::max(exponent, 1) - 1 + format.min_exponent - format.fraction_bits);
}

inline double ValueOf(Float16 v) {
  return ValueOfBits<Float16>(v.bits);
}

inline double ValueOf(BFloat16 v) {
  return ValueOfBits<BFloat16>(v.bits);
}

// The nearest number of type T; of two, the one whose last bit is 0. Of NaN, some
// NaN of its sign.
template <typename T>
T Nearest(double v) {
  if constexpr (std::is_floating_point<T>::value) {
    return static_cast<T>(v);
  } else {
    constexpr Format format = FormatOf<T>();
    const int infinity = 0x7FFF >> format.fraction_bits << format.fraction_bits;
    int bits = infinity;
    if (std::isnan(v)) {
      bits = 0x7FFF;
    } else if (!std::isinf(v)) {
      // In units of the last place; as many as fill a binade carry into the exponent.
      const double ulp = static_cast<double>(Ulp<T>(v));
      const auto units = static_cast<int>(std::nearbyint(std::fabs(v) / ulp));
      const int binade = std::ilogb(ulp) + format.fraction_bits - format.min_exponent;
      const int64_t magnitude = (int64_t{binade} << format.fraction_bits) + units;
      bits = static_cast<int>(std::min<int64_t>(magnitude, infinity));
    }
    return T{static_cast<uint16_t>(bits | (std::signbit(v) ? 0x8000 : 0))};
  }
}

using Doubles = std::vector<double>;

// What f returns when it is given some number of a type.
template <class F>
auto WithReal(Real type, const F& f) {
  switch (type) {
    case Real::kFloat16: return f(Float16{});
    case Real::kBFloat16: return f(BFloat16{});
    case Real::kFloat32: return f(float{});
    default: return f(double{});
  }
}

// Numbers as the nearest of a type lie in memory, and back.
inline Bytes Encode(Real type, const Doubles& values) {
  return WithReal(type, [&](auto number) {
    Bytes bytes(values.size() * sizeof(number));
    for (size_t i = 0; i < values.size(); ++i) {
      number = Nearest<decltype(number)>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(number), &number, sizeof(number));
    }
    return bytes;
  });
}

inline Doubles Decode(Real type, const uint8_t* bytes, size_t count) {
  return WithReal(type, [&](auto number) {
    Doubles values(count);
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(&number, bytes + i * sizeof(number), sizeof(number));
      values[i] = ValueOf(number);
    }
    return values;
  });
}

}  // namespace reference
}  // namespace caffe2op_mask
