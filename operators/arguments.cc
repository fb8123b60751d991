#include "operators/arguments.h"

#include <cmath>
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
    out << "the number " << arg.f();
  } else {
    out << "a list or a message";
  }
  return out.str();
}

}  // namespace

std::string ToString(const Number& number) {
  std::ostringstream out;
  if (number.integral) {
    out << number.i;
  } else {
    out << number.f;
  }
  return out.str();
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
  if (arg->has_i()) return {true, arg->i(), 0.0F};
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
