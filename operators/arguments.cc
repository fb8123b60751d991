#include "operators/arguments.h"

#include <string>

#include "contracts/error.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the contracts

namespace {

// Throws: an argument is not what is expected of it.
[[noreturn]] void ThrowNot(const OperatorDef& def, const char* expected, const Argument& arg) {
  Sentence sentence;
  sentence << def.type().c_str() << ": argument " << arg.name().c_str() << " must be " << expected
           << ", but is ";
  if (arg.has_s()) {
    sentence << "the string '" << arg.s().c_str() << "'.";
  } else if (arg.has_i()) {
    sentence << "the integer " << int64_t{arg.i()} << ".";
  } else if (arg.has_f()) {
    sentence << "the number " << double{arg.f()} << ".";
  } else {
    sentence << "a list or a message.";
  }
  CAFFE_THROW(std::string(sentence.text()));
}

}  // namespace

const Argument* Arguments::Find(const char* name) const {
  for (const Argument& arg : def_.arg()) {
    if (arg.name() == name) return &arg;
  }
  return nullptr;
}

std::optional<int64_t> Arguments::OptionalInt(const char* name) const {
  const Argument* const arg = Find(name);
  if (arg == nullptr) return std::nullopt;
  if (!arg->has_i()) ThrowNot(def_, "an integer", *arg);
  return arg->i();
}

std::optional<bool> Arguments::OptionalBool(const char* name) const {
  const std::optional<int64_t> value = OptionalInt(name);
  if (!value) return std::nullopt;
  CAFFE_ENFORCE(
      *value == 0 || *value == 1, def_.type(), ": argument ", name, " must be 0 or 1, but is ",
      *value, ".");
  return *value == 1;
}

std::optional<Number> Arguments::OptionalNumber(const char* name) const {
  const Argument* const arg = Find(name);
  if (arg == nullptr) return std::nullopt;
  if (arg->has_f()) return RealNumber(double{arg->f()});
  if (arg->has_i()) return Number{true, arg->i(), 0};
  double parsed = 0;
  if (!arg->has_s() || !ParseNumber({arg->s().data(), arg->s().size()}, &parsed)) {
    ThrowNot(def_, "a number", *arg);
  }
  return RealNumber(parsed);
}

std::string_view Arguments::String(const char* name, const char* fallback) const {
  const Argument* const arg = Find(name);
  if (arg == nullptr) return fallback;
  if (!arg->has_s()) ThrowNot(def_, "a string", *arg);
  return {arg->s().data(), arg->s().size()};
}

ShapeOptions ReadShapeOptions(const OperatorDef& def) {
  const Arguments arguments(def);
  ShapeOptions options;
  options.mode = arguments.String("mode", "");
  options.radius = arguments.Int("radius", options.radius);
  options.diagonal = arguments.Int("diagonal", options.diagonal);
  return options;
}

ScoreOptions ReadScoreOptions(const OperatorDef& def) {
  const Arguments arguments(def);
  ScoreOptions options;
  options.shape = ReadShapeOptions(def);
  options.shape.window_left = arguments.Int("window_left", options.shape.window_left);
  options.shape.window_right = arguments.Int("window_right", options.shape.window_right);
  options.has_mask = arguments.Bool("has_mask", false);
  options.has_bias = arguments.Bool("has_bias", false);
  options.has_sinks = arguments.Bool("has_sinks", false);
  options.scale = arguments.OptionalNumber("scale");
  options.empty_row = arguments.String("empty_row", "zero");
  return options;
}

}  // namespace mask
}  // namespace caffe2
