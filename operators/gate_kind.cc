#include "operators/gate_kind.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "operators/arguments.h"
#include "operators/check.h"
#include "operators/real.h"

namespace caffe2 {
namespace mask {

using namespace caffe2op_mask;  // NOLINT(google-build-using-namespace): the kernels

namespace {

struct KindName {
  const char* name;
  GateKind kind;
  bool noisy;  // unless it is a test
};

const KindName kKindNames[] = {
    {"sigmoid", GateKind::kSigmoid, false},
    {"tanh", GateKind::kTanh, false},
    {"softmax", GateKind::kSoftmax, false},
    {"relu", GateKind::kRelu, false},
    {"hard", GateKind::kHard, false},
    {"hard_concrete", GateKind::kHardConcrete, true},
    {"gumbel_softmax", GateKind::kSoftmax, true},
};

// Null where there is no such kind.
const KindName* FindKind(const std::string& name) {
  for (const KindName& one : kKindNames) {
    if (name == one.name) return &one;
  }
  return nullptr;
}

std::string KindGiven(const OperatorDef& def) {
  return Arguments(def).String("kind", "sigmoid");
}

// "sigmoid, tanh or hard"
std::string ListOf(std::initializer_list<const char*> names) {
  std::ostringstream out;
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (name != names.begin()) out << (name + 1 == names.end() ? " or " : ", ");
    out << *name;
  }
  return out.str();
}

bool IsOneOf(std::initializer_list<const char*> names, const std::string& given) {
  return std::find(names.begin(), names.end(), given) != names.end();
}

// Throws where an argument is there that other kinds have.
void CheckGoesWith(
    const OperatorDef& def, std::initializer_list<const char*> arguments,
    std::initializer_list<const char*> kinds, const std::string& given) {
  if (IsOneOf(kinds, given)) return;
  for (const char* const argument : arguments) {
    CAFFE_ENFORCE(
        !Arguments(def).Has(argument), def.type(), ": argument ", argument,
        " goes with kind = ", ListOf(kinds), ", but kind is ", given, ".");
  }
}

double ReadFinite(
    const OperatorDef& def, const char* name, float fallback, bool (*holds)(double),
    const char* expected) {
  const Number number = Arguments(def).Float(name, fallback);
  CAFFE_ENFORCE(
      std::isfinite(number.AsDouble()) && holds(number.AsDouble()), def.type(), ": argument ", name,
      " must be ", expected, ", but is ", ToString(number), ".");
  // What it is computed in, for all types but float64.
  NumberAs<float>(def.type(), name, number.AsDouble());
  return number.AsDouble();
}

}  // namespace

GateFunction ReadGateFunction(const OperatorDef& def, std::initializer_list<const char*> kinds) {
  const std::string given = KindGiven(def);
  CAFFE_ENFORCE(
      IsOneOf(kinds, given), def.type(), ": argument kind must be ", ListOf(kinds), ", but is '",
      given, "'.");
  CheckGoesWith(def, {"clip"}, {"hard"}, given);
  CheckGoesWith(def, {"beta", "gamma", "zeta"}, {"hard_concrete"}, given);
  CheckGoesWith(def, {"tau", "hard"}, {"softmax", "gumbel_softmax"}, given);
  GateFunction function;
  function.kind = FindKind(given)->kind;
  function.noisy = MayDrawNoise(def) && !Arguments(def).Bool("is_test", false);
  if (function.kind == GateKind::kHard) {
    function.clip = ReadFinite(
        def, "clip", 0.0F, [](double clip) { return clip >= 0; }, "a number that is not negative");
  }
  if (function.kind == GateKind::kSoftmax) {
    function.tau = ReadFinite(
        def, "tau", 1.0F, [](double tau) { return tau > 0; }, "a number above 0");
    function.hard = Arguments(def).Bool("hard", false);
  }
  if (function.kind == GateKind::kHardConcrete) {
    function.beta = ReadFinite(
        def, "beta", 2.0F / 3, [](double beta) { return beta > 0; }, "a number above 0");
    function.gamma = ReadFinite(
        def, "gamma", -0.1F, [](double gamma) { return gamma <= 0; }, "a number that is at most 0");
    function.zeta = ReadFinite(
        def, "zeta", 1.1F, [](double zeta) { return zeta >= 1; }, "a number that is at least 1");
    // What a sigmoid is multiplied by, in float for all types but float64.
    CAFFE_ENFORCE(
        function.zeta - function.gamma <= double{std::numeric_limits<float>::max()}, def.type(),
        ": arguments gamma and zeta must differ by a finite float32, but are ",
        ToString(function.gamma), " and ", ToString(function.zeta), ".");
  }
  return function;
}

bool MayDrawNoise(const OperatorDef& def) {
  const KindName* const kind = FindKind(KindGiven(def));
  return kind != nullptr && kind->noisy;
}

namespace {

void CheckBroadcast(
    const char* op, const char* name, const Tensor& small, const char* large_name,
    const Tensor& large) {
  CheckSameType(op, name, small, large_name, large);
  CAFFE_ENFORCE(
      CanBroadcast(large.sizes().data(), large.dim(), small.sizes().data(), small.dim()), op, ": ",
      name, " must be of a shape that broadcasts to ", large_name, ", ", ShapeName(large.sizes()),
      ", but is of shape ", ShapeName(small.sizes()), ".");
}

RowBroadcast BroadcastOf(const Tensor& small, const Tensor& large) {
  // Where there is nothing, the product of the other dims need not be an int64.
  if (large.numel() == 0) return RowBroadcast();
  return ElementBroadcast(large.sizes().data(), large.dim(), small.sizes().data(), small.dim());
}

}  // namespace

GateTensors ReadGateTensors(
    const char* op, const Tensor& x, const char* x_name, const Tensor* carry,
    const char* carry_name, const Tensor& z, const Tensor* threshold) {
  GateTensors tensors{};
  tensors.type = RealType(op, x_name, x);
  if (carry != nullptr) CheckSame(op, carry_name, *carry, x_name, x);
  CheckBroadcast(op, "Z", z, x_name, x);
  if (threshold != nullptr) CheckBroadcast(op, "threshold", *threshold, "Z", z);
  tensors.size = x.numel();
  tensors.gate_size = z.numel();
  tensors.columns = z.dim() == 0 ? 1 : z.size(z.dim() - 1);
  tensors.x = x.raw_data();
  tensors.z = z.raw_data();
  tensors.gate_at = BroadcastOf(z, x);
  if (carry != nullptr) tensors.carry = carry->raw_data();
  if (threshold != nullptr) {
    tensors.threshold = threshold->raw_data();
    tensors.threshold_size = threshold->numel();
    tensors.threshold_at = BroadcastOf(*threshold, z);
  }
  return tensors;
}

}  // namespace mask
}  // namespace caffe2
