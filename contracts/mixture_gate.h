#pragma once

// MixtureGate and its gradient: what they take, and what their kernels are called with.

#include <optional>

#include "contracts/tensor_view.h"
#include "kernels/mixture_gate.h"

namespace caffe2op_mask {

struct MixtureOptions {
  std::optional<int64_t> top_k;  // all where there is none
  bool renormalize = false;
};

// Sizes of Y, given those of E, which has at least 2 dims.
inline Dims MixedSizes(Sizes e) {
  return Dims{e[0]}.Append(e.From(2));
}

// Throws where an option is not what it should be whatever the inputs are.
void CheckMixtureOptions(const char* op, const MixtureOptions& options);

// `bias` is null where there is none.
MixtureTensors BindMixture(
    const char* op, const MixtureOptions& options, const TensorView& e, const TensorView& z,
    const TensorView* bias);

// Throws unless d_y is of E's type and of Y's sizes.
void CheckMixedGradient(const char* op, const TensorView& d_y, const TensorView& e);

}  // namespace caffe2op_mask
