#pragma once

// The element types of the operators' contracts.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "caffe2/core/operator.h"
#include "operators/arguments.h"
#include "operators/check.h"

namespace caffe2 {
namespace mask {

// Calls op->DoRunWithType<T>() for the T of `tensor`, and
// op->DoRunWithOtherType() where that is none of these.
template <class Op, typename... Ts>
bool Dispatch(Op* op, const Tensor& tensor, TensorTypes<Ts...> /*types*/) {
  const bool listed = (tensor.dtype().Match<Ts>() || ...);
  return listed ? DispatchHelper<TensorTypes<Ts...>>::call(op, tensor) : op->DoRunWithOtherType();
}

// float32 comes first: types are tried in this order.
template <class Op>
bool DispatchAny(Op* op, const Tensor& tensor) {
  return Dispatch(
      op, tensor,
      TensorTypes<
          float, double, at::Half, at::BFloat16, int32_t, int64_t, bool, uint8_t, int8_t, uint16_t,
          int16_t>());
}

template <class Op>
bool DispatchReal(Op* op, const Tensor& tensor) {
  return Dispatch(op, tensor, TensorTypes<float, double, at::Half, at::BFloat16>());
}

template <typename T>
constexpr bool IsReal() {
  return std::is_floating_point<T>::value || std::is_same<T, at::Half>::value ||
         std::is_same<T, at::BFloat16>::value;
}

// Of the two floats around a double that is none, the one with an odd last bit: rounded again,
// to fewer bits, it becomes what the double would have.
inline float RoundToOdd(double number) {
  const auto nearest = static_cast<float>(number);
  uint32_t bits = 0;
  std::memcpy(&bits, &nearest, sizeof(bits));
  if (double{nearest} == number || std::isnan(number) || (bits & 1) == 1) return nearest;
  return std::nextafter(nearest, number > double{nearest} ? HUGE_VALF : -HUGE_VALF);
}

// `number` as a T, rounded to the nearest where T is real; throws where T does
// not reach so far, or is whole and the number is not.
template <typename T>
T ConvertFill(const char* op, const Number& number) {
  const double value = number.AsDouble();
  bool fits = true;
  T result{};
  if constexpr (IsReal<T>()) {
    // By way of float for the 16-bit types, which convert from nothing else.
    using Wide = std::conditional_t<std::is_same<T, double>::value, double, float>;
    Wide wide = number.integral ? static_cast<Wide>(number.i) : static_cast<Wide>(number.f);
    if (sizeof(T) < sizeof(Wide) && !number.integral) wide = RoundToOdd(number.f);
    result = static_cast<T>(wide);
    fits = !std::isfinite(value) || std::isfinite(static_cast<double>(static_cast<Wide>(result)));
  } else if (number.integral) {
    fits = number.i >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
           number.i <= static_cast<int64_t>(std::numeric_limits<T>::max());
    result = static_cast<T>(number.i);
  } else {
    // A float that is whole and in range; the bound 2^digits is exact as double.
    fits = std::trunc(value) == value &&
           value >= static_cast<double>(std::numeric_limits<T>::min()) &&
           value < std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (fits) result = static_cast<T>(value);
  }
  CAFFE_ENFORCE(
      fits, op, ": argument fill_val is ", ToString(number), ", which data of type ",
      TypeName(TypeMeta::Make<T>()), " cannot hold.");
  return result;
}

}  // namespace mask
}  // namespace caffe2
