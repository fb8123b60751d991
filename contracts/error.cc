#include "contracts/error.h"

#include <cmath>
#include <limits>
#include <locale>
#include <sstream>
#include <string>

namespace caffe2op_mask {
namespace {

// The fewest digits that read back as the same T.
template <typename T>
std::string Shortest(T number) {
  std::string text;
  for (int digits = 6; digits <= std::numeric_limits<T>::max_digits10; ++digits) {
    std::ostringstream out;
    out.imbue(std::locale::classic());
    out.precision(digits);
    out << number;
    text = out.str();
    double read = 0;
    if (!ParseNumber(text, &read) || static_cast<T>(read) == number) break;
  }
  return text;
}

}  // namespace

bool ParseNumber(std::string_view text, double* number) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const std::string given(text);
  if (given == "inf" || given == "-inf" || given == "nan") {
    *number =
        given == "nan" ? std::numeric_limits<double>::quiet_NaN() : (given == "inf" ? kInf : -kInf);
    return true;
  }
  std::istringstream in(given);
  in.imbue(std::locale::classic());
  in >> std::noskipws >> *number;
  if (in.fail() || in.peek() != std::istringstream::traits_type::eof()) return false;
  const bool is_zero =
      given.substr(0, given.find_first_of("eE")).find_first_of("123456789") == std::string::npos;
  return (*number == 0) == is_zero;
}

Sentence& Sentence::operator<<(std::string_view text) {
  text_.insert(text_.end(), text.begin(), text.end());
  return *this;
}

Sentence& Sentence::operator<<(int64_t number) {
  return *this << std::string_view(std::to_string(number));
}

Sentence& Sentence::operator<<(double number) {
  const bool in_reach = std::abs(number) <= double{std::numeric_limits<float>::max()};
  if (in_reach && double{static_cast<float>(number)} == number) {
    return *this << std::string_view(Shortest(static_cast<float>(number)));
  }
  return *this << std::string_view(Shortest(number));
}

Sentence& Sentence::operator<<(const Number& number) {
  return number.integral ? *this << number.i : *this << number.f;
}

Sentence& Sentence::operator<<(Sizes sizes) {
  *this << "[";
  for (int64_t d = 0; d < sizes.rank(); ++d) *this << (d == 0 ? "" : ", ") << sizes[d];
  return *this << "]";
}

void Throw(Sentence sentence) {
  sentence << std::string_view("", 1);  // with the 0 that ends it
  throw ContractError(sentence.text().data());
}

}  // namespace caffe2op_mask
