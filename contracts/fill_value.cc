#include "contracts/fill_value.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

#include "contracts/error.h"
#include "kernels/fill.h"
#include "kernels/real.h"

namespace caffe2op_mask {
namespace {

// Of the two floats around a double that is none, the one with an odd last bit: rounded again,
// to fewer bits, it becomes what the double would have.
float RoundToOdd(double number) {
  const auto nearest = static_cast<float>(number);
  uint32_t bits = 0;
  std::memcpy(&bits, &nearest, sizeof(bits));
  if (double{nearest} == number || std::isnan(number) || (bits & 1) == 1) return nearest;
  return std::nextafter(nearest, number > double{nearest} ? HUGE_VALF : -HUGE_VALF);
}

template <typename T>
std::optional<uint64_t> AsReal(const Number& number) {
  // By way of float for the 16-bit types, which convert from nothing else.
  Wide<T> wide = number.integral ? static_cast<Wide<T>>(number.i) : static_cast<Wide<T>>(number.f);
  T element{};
  if constexpr (std::is_same<T, Wide<T>>::value) {
    element = wide;
  } else {
    if (!number.integral) wide = RoundToOdd(number.f);
    FromFloat(&wide, 1, &element);
    wide = ToFloat(element);
  }
  if (std::isfinite(number.AsDouble()) && !std::isfinite(wide)) return std::nullopt;
  return FillPattern(element);
}

template <typename T>
std::optional<uint64_t> AsWhole(const Number& number) {
  using Limits = std::numeric_limits<T>;
  if (number.integral) {
    if (number.i < int64_t{Limits::min()} || number.i > int64_t{Limits::max()}) return std::nullopt;
    return FillPattern(static_cast<T>(number.i));
  }
  // A float that is whole and in range; the bound 2^digits is exact as double.
  const double value = number.f;
  if (std::trunc(value) != value || value < static_cast<double>(Limits::min()) ||
      value >= std::ldexp(1.0, Limits::digits)) {
    return std::nullopt;
  }
  return FillPattern(static_cast<T>(value));
}

std::optional<uint64_t> Convert(const Number& number, ElementType type) {
  switch (type) {
    case ElementType::kFloat32: return AsReal<float>(number);
    case ElementType::kFloat64: return AsReal<double>(number);
    case ElementType::kFloat16: return AsReal<Float16>(number);
    case ElementType::kBFloat16: return AsReal<BFloat16>(number);
    case ElementType::kInt32: return AsWhole<int32_t>(number);
    case ElementType::kInt64: return AsWhole<int64_t>(number);
    case ElementType::kBool: return AsWhole<bool>(number);
    case ElementType::kUInt8: return AsWhole<uint8_t>(number);
    case ElementType::kInt8: return AsWhole<int8_t>(number);
    case ElementType::kUInt16: return AsWhole<uint16_t>(number);
    case ElementType::kInt16: return AsWhole<int16_t>(number);
    case ElementType::kOther: break;
  }
  return std::nullopt;
}

}  // namespace

uint64_t FillValue(const char* op, const Number& number, ElementType type) {
  const std::optional<uint64_t> pattern = Convert(number, type);
  Require(
      pattern.has_value(), op, ": argument fill_val is ", number, ", which data of type ",
      NameOf(type), " cannot hold.");
  return *pattern;
}

}  // namespace caffe2op_mask
