#pragma once

// Gates: Y = g(Z) * X, or g(Z) * X + (1 - g(Z)) * carry, with the gradients of
// both. Z is broadcast to X and never expanded. What an element becomes, and every
// sum, is the same however the work is shared out.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/parallel.h"
#include "kernels/random.h"
#include "kernels/real_block.h"

namespace caffe2op_mask {

enum class GateKind {
  kSigmoid,
  kTanh,
  kSoftmax,      // over each row of Z, of noise beside it, or 1 at the greatest of the row
  kRelu,         // max(0, Z - threshold)
  kHard,         // 1 where Z > 0; the gradient is the sigmoid's
  kHardConcrete  // a sigmoid of Z, and of noise, stretched and cut to [0, 1]
};

struct GateFunction {
  GateKind kind = GateKind::kSigmoid;
  double clip = 0;  // kHard: no gradient where |Z| is greater; 0 is none such
  // kHardConcrete: g = clamp(s * (zeta - gamma) + gamma, 0, 1), where s is
  // sigmoid((log u - log(1 - u) + Z) / beta), or sigmoid(Z) without noise.
  double beta = 1;
  double gamma = 0;
  double zeta = 1;
  // kSoftmax: of (Z - log(-log u)) / tau, or of Z / tau without noise. Where it is hard, g is 1 at
  // the greatest of a row, the first of equals, and 0 elsewhere, with the gradient of the softmax
  // to Z; a row whose softmax is NaN is NaN.
  double tau = 1;
  bool hard = false;
  bool noisy = false;  // kHardConcrete and kSoftmax
  RandomStream noise{};

  // What these close they close to 0 exactly: an infinity or a NaN does not pass.
  bool masks() const {
    return kind == GateKind::kRelu || kind == GateKind::kHard || kind == GateKind::kHardConcrete ||
           (kind == GateKind::kSoftmax && hard);
  }
};

// Shapes as checked by the caller; memory is aligned as its elements are. Z's entries are counted
// over all its dims; `columns` is its last dim, or 1.
struct GateTensors {
  Real type;
  int64_t size;       // entries of X
  int64_t gate_size;  // and of Z
  int64_t columns;
  const void* x;
  const void* carry;  // of X's shape, or null
  const void* z;
  const void* threshold;      // kRelu's; null is 0
  RowBroadcast gate_at;       // Z on X, by ElementBroadcast
  RowBroadcast threshold_at;  // threshold on Z
  int64_t threshold_size;
};

// `y` is of X's shape, and X or the carry itself or apart from them; `g`, which may
// be null, of Z's.
void Gate(
    const GateFunction& function, const GateTensors& tensors, void* y, void* g,
    ParallelFor parallel_for);

// Gradients, each of the shape of what it is the gradient of, from those of y and g, of which one
// may be null; without d_y, d_x and d_carry are not touched. d_carry and d_threshold are null where
// there is no such input. None overlaps what is read.
// Noise is drawn as Gate drew it, if the function says the same.
struct GateGradients {
  const void* d_y;
  const void* d_g;
  void* d_x;
  void* d_carry;
  void* d_z;
  void* d_threshold;
};

void GateGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for);

}  // namespace caffe2op_mask
