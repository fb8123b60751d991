#pragma once

// Y[n] = sum over k of softmax(Z[n])[k] * E[n, k], of all experts or of the few with
// the largest Z, with gradients. What has no weight is neither read nor multiplied.

#include <cstdint>

#include "kernels/parallel.h"
#include "kernels/real_block.h"

namespace caffe2op_mask {

struct MixtureTensors {
  Real type;
  int64_t rows;     // N
  int64_t experts;  // K
  int64_t columns;  // D
  const void* e;    // [N, K, D]
  const void* z;    // [N, K]
  // How many experts each row keeps, of [1, K]: those with the largest Z, of equal
  // ones the first. Their weights stay what the softmax over all experts says,
  int64_t top_k;
  // or become the softmax over those that are kept, as if divided by their sum.
  bool renormalize = false;
  // Of K numbers of the type computed in, float or double, or null: what is added to the softmax
  // over all experts to be largest instead of Z. It changes no weight of what is kept.
  const void* bias = nullptr;
};

// y is [N, D]; g, which may be null, becomes the weights, [N, K].
void MixtureGate(const MixtureTensors& tensors, void* y, void* g, ParallelFor parallel_for);

// d_e and d_z from the gradients of y and of g, of which one may be null.
void MixtureGateGradient(
    const MixtureTensors& tensors, const void* d_y, const void* d_g, void* d_e, void* d_z,
    ParallelFor parallel_for);

}  // namespace caffe2op_mask
