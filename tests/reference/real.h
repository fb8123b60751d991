#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/real.h"
#include "tests/reference/bytes.h"

namespace caffe2op_mask {
namespace reference {

using Doubles = std::vector<double>;

// A format of `fraction` bits and exponents from `least` to `greatest`, the sign
// apart: what the 16-bit types differ in.
struct Format {
  int fraction;
  int least;
  int greatest;
};

inline Format FormatOf(Real type) {
  return type == Real::kFloat16 ? Format{10, -14, 15} : Format{7, -126, 127};
}

inline double Decode16(Format format, uint16_t bits) {
  const int exponents = 1 << (15 - format.fraction);
  const int exponent = bits >> format.fraction & (exponents - 1);
  const int fraction = bits & ((1 << format.fraction) - 1);
  const double sign = bits >> 15 != 0 ? -1 : 1;
  if (exponent == exponents - 1) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  const double significand = exponent == 0 ? fraction : fraction + (1 << format.fraction);
  const int shift = exponent == 0 ? format.least : exponent + format.least - 1;
  return sign * std::ldexp(significand, shift - format.fraction);
}

// To the nearest, ties to even.
inline uint16_t Encode16(Format format, double value) {
  const int sign = std::signbit(value) ? 1 << 15 : 0;
  const int infinity = ((1 << (15 - format.fraction)) - 1) << format.fraction;
  if (std::isnan(value)) return static_cast<uint16_t>(infinity | 1 << (format.fraction - 1));
  int exponent = format.least;
  if (value != 0 && std::isfinite(value)) exponent = std::max(exponent, std::ilogb(value));
  if (!std::isfinite(value) || exponent > format.greatest) {
    return static_cast<uint16_t>(sign | infinity);
  }
  // In units of the last place; a carry runs into the exponent as it should.
  const auto units =
      static_cast<int>(std::nearbyint(std::ldexp(std::fabs(value), format.fraction - exponent)));
  return static_cast<uint16_t>(sign | (units + ((exponent - format.least) << format.fraction)));
}

// A number as its bytes, lowest first, and back.
inline uint64_t BitsOf(Real type, double value) {
  uint64_t bits = 0;
  const auto as_float = static_cast<float>(value);
  switch (type) {
    case Real::kFloat64: std::memcpy(&bits, &value, sizeof(value)); return bits;
    case Real::kFloat32: std::memcpy(&bits, &as_float, sizeof(as_float)); return bits;
    default: return Encode16(FormatOf(type), value);
  }
}

inline double ValueOf(Real type, uint64_t bits) {
  double value = 0;
  float as_float = 0;
  switch (type) {
    case Real::kFloat64: std::memcpy(&value, &bits, sizeof(value)); return value;
    case Real::kFloat32: std::memcpy(&as_float, &bits, sizeof(as_float)); return double{as_float};
    default: return Decode16(FormatOf(type), static_cast<uint16_t>(bits));
  }
}

inline Bytes Encode(Real type, const Doubles& values) {
  Bytes bytes;
  for (const double value : values) {
    const uint64_t bits = BitsOf(type, value);
    for (int64_t b = 0; b < RealBytes(type); ++b) {
      bytes.push_back(static_cast<uint8_t>(bits >> (8 * b)));
    }
  }
  return bytes;
}

inline Doubles Decode(Real type, const uint8_t* bytes, size_t count) {
  Doubles values;
  for (size_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    for (int64_t b = 0; b < RealBytes(type); ++b) bits |= uint64_t{*bytes++} << (8 * b);
    values.push_back(ValueOf(type, bits));
  }
  return values;
}

}  // namespace reference
}  // namespace caffe2op_mask
