#include "operators/arguments.h"

#include <locale>
#include <sstream>

namespace caffe2 {
namespace mask {
namespace {

std::string Describe(const Argument& arg) {
  std::ostringstream out;
  if (arg.has_s()) {
    out << "the string '" << arg.s() << "'";
  } else if (arg.has_i()) {
    out << "the integer " << arg.i();
  } else if (arg.has_f()) {
    out << "the number " << ToString(double{arg.f()});
  } else {
    out << "a list or a message";
  }
  return out.str();
}

// Reads all of `text` as a decimal number, rounded to the nearest double, whatever the locale;
// false where it is none, or beyond double.
bool Parse(const std::string& text, double* number) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (text == "inf" || text == "-inf" || text == "nan") {
    *number =
        text == "nan" ? std::numeric_limits<double>::quiet_NaN() : (text == "inf" ? kInf : -kInf);
    return true;
  }
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  in >> std::noskipws >> *number;
  if (in.fail() || in.peek() != std::istringstream::traits_type::eof()) return false;
  const bool is_zero =
      text.substr(0, text.find_first_of("eE")).find_first_of("123456789") == std::string::npos;
  return (*number == 0) == is_zero;
}

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
    if (!Parse(text, &read) || static_cast<T>(read) == number) break;
  }
  return text;
}

}  // namespace

std::string ToString(double number) {
  const bool in_reach = std::abs(number) <= double{std::numeric_limits<float>::max()};
  if (in_reach && double{static_cast<float>(number)} == number) {
    return Shortest(static_cast<float>(number));
  }
  return Shortest(number);
}

std::string ToString(const Number& number) {
  return number.integral ? std::to_string(number.i) : ToString(number.f);
}

const Argument* Arguments::Find(const std::string& name) const {
  for (const Argument& arg : def_.arg()) {
    if (arg.name() == name) return &arg;
  }
  return nullptr;
}

int64_t Arguments::Int(const std::string& name, int64_t fallback) const {
  const Argument* arg = Find(name);
  if (arg == nullptr) return fallback;
  if (arg->has_i()) return arg->i();
  CAFFE_THROW(
      def_.type(), ": argument ", name, " must be an integer, but is ", Describe(*arg), ".");
}

std::optional<int64_t> Arguments::OptionalInt(const std::string& name) const {
  if (!Has(name)) return std::nullopt;
  return Int(name, 0);
}

bool Arguments::Bool(const std::string& name, bool fallback) const {
  const int64_t value = Int(name, fallback ? 1 : 0);
  CAFFE_ENFORCE(
      value == 0 || value == 1, def_.type(), ": argument ", name, " must be 0 or 1, but is ", value,
      ".");
  return value == 1;
}

Number Arguments::Float(const std::string& name, float fallback) const {
  const Argument* arg = Find(name);
  if (arg == nullptr) return {false, 0, fallback};
  if (arg->has_f()) return {false, 0, arg->f()};
  if (arg->has_i()) return {true, arg->i(), 0};
  double parsed = 0;
  if (arg->has_s() && Parse(arg->s(), &parsed)) return {false, 0, parsed};
  CAFFE_THROW(def_.type(), ": argument ", name, " must be a number, but is ", Describe(*arg), ".");
}

std::string Arguments::String(const std::string& name, const std::string& fallback) const {
  const Argument* arg = Find(name);
  if (arg == nullptr) return fallback;
  if (arg->has_s()) return arg->s();
  CAFFE_THROW(def_.type(), ": argument ", name, " must be a string, but is ", Describe(*arg), ".");
}

}  // namespace mask
}  // namespace caffe2
