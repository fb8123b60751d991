#pragma once

// Y[n] = sum over k of softmax(Z[n])[k] * E[n, k], of all experts or of the few with
// the largest Z, with gradients. What has no weight is neither read nor multiplied.

#include <cstdint>
#include <vector>

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
  // ones the first. Their weights stay what the softmax over all experts says.
  int64_t top_k;
};

// Memory of no meaning between calls, kept so that it is allocated once.
struct MixtureScratch {
  std::vector<uint8_t> weights;
  std::vector<double> sums;
};

// y is [N, D]; g, which may be null, becomes the weights, [N, K].
void MixtureGate(
    const MixtureTensors& tensors, void* y, void* g, MixtureScratch* scratch,
    ParallelFor parallel_for);

// d_e and d_z from the gradient of y and, unless null, of g.
void MixtureGateGradient(
    const MixtureTensors& tensors, const void* d_y, const void* d_g, void* d_e, void* d_z,
    MixtureScratch* scratch, ParallelFor parallel_for);

}  // namespace caffe2op_mask
