#pragma once

// Gate and Highway: their kinds with the options that go with them, and the tensors that a gate is
// applied to.

#include <initializer_list>
#include <optional>
#include <string_view>

#include "contracts/number.h"
#include "contracts/tensor_view.h"
#include "kernels/gate.h"

namespace caffe2op_mask {

struct GateOptions {
  std::string_view kind = "sigmoid";
  bool is_test = false;
  std::optional<Number> clip;
  std::optional<Number> beta;
  std::optional<Number> gamma;
  std::optional<Number> zeta;
  std::optional<Number> tau;
  std::optional<bool> hard;
};

constexpr std::initializer_list<const char*> kGateKinds = {
    "sigmoid", "tanh", "softmax", "relu", "hard", "hard_concrete", "gumbel_softmax"};
// Those of which g stays in [0, 1] and draws nothing.
constexpr std::initializer_list<const char*> kHighwayKinds = {"sigmoid", "softmax", "hard"};

// The gate of a kind, one of `kinds`; throws where an option is not what it should be.
GateFunction ReadGateFunction(
    const char* op, const GateOptions& options, std::initializer_list<const char*> kinds);

// Whether a gate of this kind draws noise, if it is not a test.
bool MayDrawNoise(std::string_view kind);

// The tensors that a gate is applied to. `x` and `carry` are of one shape, to which `z` can be
// broadcast, as `threshold`, of kind relu alone, can be to z's. `carry` and `threshold` may be
// null.
struct GateInputs {
  const TensorView* x;
  const TensorView* z;
  const TensorView* threshold = nullptr;
  const TensorView* carry = nullptr;
  const char* x_name = "X";
  const char* carry_name = "";
};

// Throws where one of them is not what it should be.
GateTensors BindGate(const char* op, const GateInputs& inputs);

// The numbers that Gate drew, by its output noise; throws where that is not one.
RandomStream NoiseOf(const char* op, const TensorView& noise);

}  // namespace caffe2op_mask
