#include "contracts/gate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "contracts/broadcast.h"
#include "contracts/check.h"

namespace caffe2op_mask {
namespace {

struct KindName {
  const char* name;
  GateKind kind;
  bool noisy;  // unless it is a test
};

constexpr KindName kKindNames[] = {
    {"sigmoid", GateKind::kSigmoid, false},
    {"tanh", GateKind::kTanh, false},
    {"softmax", GateKind::kSoftmax, false},
    {"relu", GateKind::kRelu, false},
    {"hard", GateKind::kHard, false},
    {"hard_concrete", GateKind::kHardConcrete, true},
    {"gumbel_softmax", GateKind::kSoftmax, true},
};

// Null where there is no such kind.
const KindName* FindKind(std::string_view name) {
  for (const KindName& one : kKindNames) {
    if (name == one.name) return &one;
  }
  return nullptr;
}

using Kinds = std::initializer_list<const char*>;

bool IsOneOf(Kinds kinds, std::string_view given) {
  return std::find(kinds.begin(), kinds.end(), given) != kinds.end();
}

// "sigmoid, tanh or hard"
struct ListOf {
  Kinds kinds;
};

Sentence& operator<<(Sentence& sentence, const ListOf& list) {
  for (const auto* name = list.kinds.begin(); name != list.kinds.end(); ++name) {
    if (name != list.kinds.begin()) sentence << (name + 1 == list.kinds.end() ? " or " : ", ");
    sentence << *name;
  }
  return sentence;
}

// Which kinds have options of their own.
constexpr Kinds kClipped = {"hard"};
constexpr Kinds kStretched = {"hard_concrete"};
constexpr Kinds kTempered = {"softmax", "gumbel_softmax"};

// Options of one kind, each of which throws where it is given with another or is not what it should
// be.
class OptionsOf {
 public:
  OptionsOf(const char* op, std::string_view kind, Kinds kinds)
      : op_(op), kind_(kind), kinds_(kinds) {}

  // `fallback` where it is not given.
  double Finite(
      const char* name, const std::optional<Number>& given, double fallback, bool (*holds)(double),
      const char* expected) const {
    const Number number = given.value_or(RealNumber(fallback));
    const double value = number.AsDouble();
    Require(
        std::isfinite(value) && holds(value), op_, ": argument ", name, " must be ", expected,
        ", but is ", number, ".");
    // What it is computed in, for all types but float64.
    CheckHolds(op_, name, value, ElementType::kFloat32);
    return value;
  }

  void CheckGoesWith(const char* name, bool given) const {
    if (!given || IsOneOf(kinds_, kind_)) return;
    Throw(
        Sentence() << op_ << ": argument " << name << " goes with kind = " << ListOf{kinds_}
                   << ", but kind is " << kind_ << ".");
  }

 private:
  const char* op_;
  std::string_view kind_;
  Kinds kinds_;
};

}  // namespace

GateFunction ReadGateFunction(const char* op, const GateOptions& options, Kinds kinds) {
  const std::string_view given = options.kind;
  Require(
      IsOneOf(kinds, given), op, ": argument kind must be ", ListOf{kinds}, ", but is '", given,
      "'.");
  const OptionsOf clipped(op, given, kClipped);
  const OptionsOf stretched(op, given, kStretched);
  const OptionsOf tempered(op, given, kTempered);
  clipped.CheckGoesWith("clip", options.clip.has_value());
  stretched.CheckGoesWith("beta", options.beta.has_value());
  stretched.CheckGoesWith("gamma", options.gamma.has_value());
  stretched.CheckGoesWith("zeta", options.zeta.has_value());
  tempered.CheckGoesWith("tau", options.tau.has_value());
  tempered.CheckGoesWith("hard", options.hard.has_value());
  GateFunction function;
  function.kind = FindKind(given)->kind;
  function.noisy = MayDrawNoise(given) && !options.is_test;
  if (function.kind == GateKind::kHard) {
    function.clip = clipped.Finite(
        "clip", options.clip, 0, [](double clip) { return clip >= 0; },
        "a number that is not negative");
  }
  if (function.kind == GateKind::kSoftmax) {
    function.tau = tempered.Finite(
        "tau", options.tau, 1, [](double tau) { return tau > 0; }, "a number above 0");
    function.hard = options.hard.value_or(false);
  }
  if (function.kind == GateKind::kHardConcrete) {
    // Defaults are float32, as arguments that are given may be.
    function.beta = stretched.Finite(
        "beta", options.beta, double{2.0F / 3}, [](double beta) { return beta > 0; },
        "a number above 0");
    function.gamma = stretched.Finite(
        "gamma", options.gamma, double{-0.1F}, [](double gamma) { return gamma <= 0; },
        "a number that is at most 0");
    function.zeta = stretched.Finite(
        "zeta", options.zeta, double{1.1F}, [](double zeta) { return zeta >= 1; },
        "a number that is at least 1");
    // What a sigmoid is multiplied by, in float for all types but float64.
    Require(
        function.zeta - function.gamma <= double{std::numeric_limits<float>::max()}, op,
        ": arguments gamma and zeta must differ by a finite float32, but are ", function.gamma,
        " and ", function.zeta, ".");
  }
  return function;
}

bool MayDrawNoise(std::string_view kind) {
  const KindName* const found = FindKind(kind);
  return found != nullptr && found->noisy;
}

namespace {

void CheckBroadcast(
    const char* op, const char* name, const TensorView& small, const char* large_name,
    const TensorView& large) {
  CheckSameType(op, name, small, large_name, large);
  Require(
      CanBroadcast(large.sizes, small.sizes), op, ": ", name,
      " must be of a shape that broadcasts to ", large_name, ", ", large.sizes,
      ", but is of shape ", small.sizes, ".");
}

RowBroadcast BroadcastOf(const TensorView& small, const TensorView& large) {
  // Where there is nothing, the product of the other dims need not be an int64.
  if (large.numel() == 0) return RowBroadcast();
  return BroadcastElements(large.sizes, small.sizes);
}

}  // namespace

GateTensors BindGate(const char* op, const GateInputs& inputs) {
  const TensorView& x = *inputs.x;
  const TensorView& z = *inputs.z;
  GateTensors tensors{};
  tensors.type = RealType(op, inputs.x_name, x);
  if (inputs.carry != nullptr) CheckSame(op, inputs.carry_name, *inputs.carry, inputs.x_name, x);
  CheckBroadcast(op, "Z", z, inputs.x_name, x);
  if (inputs.threshold != nullptr) CheckBroadcast(op, "threshold", *inputs.threshold, "Z", z);
  tensors.size = x.numel();
  tensors.gate_size = z.numel();
  tensors.columns = z.rank() == 0 ? 1 : z.sizes.FromBack(1);
  tensors.x = x.data;
  tensors.z = z.data;
  tensors.gate_at = BroadcastOf(z, x);
  if (inputs.carry != nullptr) tensors.carry = inputs.carry->data;
  if (inputs.threshold != nullptr) {
    tensors.threshold = inputs.threshold->data;
    tensors.threshold_size = inputs.threshold->numel();
    tensors.threshold_at = BroadcastOf(*inputs.threshold, z);
  }
  return tensors;
}

RandomStream NoiseOf(const char* op, const TensorView& noise) {
  Require(
      noise.Is(ElementType::kInt64) && noise.rank() == 1 && noise.sizes[0] == 2, op,
      ": noise must be of type int64 and of shape [2], but is of type ", noise.type_name(),
      " and of shape ", noise.sizes, ".");
  const auto* const drawn = noise.As<int64_t>();
  return {static_cast<uint32_t>(drawn[0]), static_cast<uint64_t>(drawn[1])};
}

}  // namespace caffe2op_mask
