// Per-target code of kernels/gate.h: what is done to one block of entries, at most kRealBlock, and
// to one span of Z's entries.

#if defined(CAFFE2OP_MASK_KERNELS_GATE_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_BLOCK_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_BLOCK_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_BLOCK_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/aligned_buffer.h"
#include "kernels/gate.h"
#include "kernels/gate_function-inl.h"
#include "kernels/gate_softmax-inl.h"
#include "kernels/random-inl.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// out[0, count) = the entries of the smaller tensor at [first, first + count) of
// the larger one.
template <typename T>
HWY_INLINE void GatherSmall(
    const T* HWY_RESTRICT small, const RowBroadcast& at, int64_t first, int64_t count,
    T* HWY_RESTRICT out) {
  const int64_t columns = at.columns();
  int64_t row = first / columns;
  int64_t column = first - row * columns;
  while (count > 0) {
    const int64_t take = std::min(count, columns - column);
    const T* const from = small + at.Offset(row);
    if (at.column_stride() == 0) {
      std::fill(out, out + take, *from);
    } else {
      std::copy(from + column, from + column + take, out);
    }
    out += take;
    count -= take;
    column = 0;
    ++row;
  }
}

// The same as C, of any type.
template <typename C>
HWY_NOINLINE const C* LoadSmall(
    Real type, const void* small, const RowBroadcast& at, int64_t first, int64_t count,
    RealBlock<C>* block) {
  if constexpr (sizeof(C) == sizeof(float)) {
    if (type != Real::kFloat32) {
      HWY_ALIGN uint16_t bits[kRealBlock];
      GatherSmall(static_cast<const uint16_t*>(small), at, first, count, bits);
      LoadBlock(type, bits, 0, count, block);
      return block->at;
    }
  }
  GatherSmall(static_cast<const C*>(small), at, first, count, block->at);
  return block->at;
}

// (z + log u - log(1 - u)) / beta, with u of (0, 1).
template <typename C>
HWY_NOINLINE void AddLogisticNoise(
    const GateFunction& function, const C* z, int64_t first, int64_t count, C* out) {
  HWY_ALIGN uint32_t numbers[kRealBlock];
  RandomNumbers(function.noise, first, count, numbers);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto scale = hn::Set(d, static_cast<C>(1 / function.beta));
    const auto noisy = hn::Add(hn::LoadU(d, z + i), RandomLogit(d, numbers + i));
    hn::Store(hn::Mul(noisy, scale), d, out + i);
  });
}

// g and, unless null, slopes of a block of Z, whose `first` is a multiple of kRealBlock where there
// is noise. Not of kSoftmax.
template <typename C>
HWY_NOINLINE void ApplyGateFunction(
    const GateFunction& function, const GateTensors& tensors, int64_t first, int64_t count, C* g,
    C* slopes) {
  RealBlock<C> loaded;
  RealBlock<C> moved;
  const C* z = LoadBlock(tensors.type, tensors.z, first, count, &loaded);
  if (tensors.threshold != nullptr) {
    const C* const threshold =
        LoadSmall(tensors.type, tensors.threshold, tensors.threshold_at, first, count, &moved);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      hn::Store(hn::Sub(hn::LoadU(d, z + i), hn::Load(d, threshold + i)), d, moved.at + i);
    });
    z = moved.at;
  } else if (function.noisy) {
    AddLogisticNoise(function, z, first, count, moved.at);
    z = moved.at;
  }
  switch (function.kind) {
    case GateKind::kSigmoid: ApplyGate(SigmoidGate(), z, count, g, slopes); break;
    case GateKind::kTanh: ApplyGate(TanhGate(), z, count, g, slopes); break;
    case GateKind::kRelu: ApplyGate(ReluGate(), z, count, g, slopes); break;
    case GateKind::kHard: ApplyGate(HardGate{function.clip}, z, count, g, slopes); break;
    case GateKind::kHardConcrete: {
      const double beta = function.noisy ? function.beta : 1;
      const HardConcreteGate gate{beta, function.gamma, function.zeta};
      ApplyGate(gate, z, count, g, slopes);
      break;
    }
    case GateKind::kSoftmax: break;
  }
}

// weight * value, and 0 for a gate that masks what it is closed to.
template <class D, class V>
HWY_INLINE V Weighed(D d, bool masks, V weight, V value) {
  const V product = hn::Mul(weight, value);
  return masks ? hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), product) : product;
}

template <typename C>
HWY_INLINE void WeighBy(bool masks, const C* weights, const C* values, int64_t count, C* out) {
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(Weighed(d, masks, hn::LoadU(d, weights + i), hn::LoadU(d, values + i)), d, out + i);
  });
}

// Stores what a block of x and the carry is weighed to, by g. `y` may be either of them.
template <typename C>
HWY_NOINLINE void StoreWeighedBlock(
    const GateFunction& function, const GateTensors& tensors, const C* g, int64_t first,
    int64_t count, void* y, Stores stores) {
  const bool masks = function.masks();
  RealBlock<C> loaded;
  RealBlock<C> result;
  const C* const x = LoadBlock(tensors.type, tensors.x, first, count, &loaded);
  C* const out = BlockFor(tensors.type, y, first, count, stores, &result);
  if (tensors.carry == nullptr) {
    WeighBy(masks, g, x, count, out);
    StoreBlock(tensors.type, out, first, count, y, stores);
    return;
  }
  RealBlock<C> weighed;  // what is in `y` may be the carry
  WeighBy(masks, g, x, count, weighed.at);
  const C* const carry = LoadBlock(tensors.type, tensors.carry, first, count, &loaded);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto rest = hn::Sub(hn::Set(d, C{1}), hn::LoadU(d, g + i));
    const auto product = Weighed(d, masks, rest, hn::LoadU(d, carry + i));
    hn::StoreU(hn::Add(hn::Load(d, weighed.at + i), product), d, out + i);
  });
  StoreBlock(tensors.type, out, first, count, y, stores);
}

// x - carry, or x: what d_y is multiplied with to be the gradient of g.
template <typename C>
HWY_INLINE const C* LoadDifference(
    const GateTensors& tensors, int64_t first, int64_t count, RealBlock<C>* block) {
  const C* const x = LoadBlock(tensors.type, tensors.x, first, count, block);
  if (tensors.carry == nullptr) return x;
  RealBlock<C> loaded;
  const C* const carry = LoadBlock(tensors.type, tensors.carry, first, count, &loaded);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::Store(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, carry + i)), d, block->at + i);
  });
  return block->at;
}

// The gradient of a block of g where X and Z have one shape: d_y * (x - carry), and, unless null,
// what is given of its own.
template <typename C>
HWY_NOINLINE void GradientOfGate(
    const GateTensors& tensors, const C* d_y, const void* given, int64_t first, int64_t count,
    C* d_g) {
  RealBlock<C> block;
  const C* const difference = LoadDifference(tensors, first, count, &block);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::Store(hn::Mul(hn::LoadU(d, d_y + i), hn::LoadU(d, difference + i)), d, d_g + i);
  });
  if (given == nullptr) return;
  const C* const more = LoadBlock(tensors.type, given, first, count, &block);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::Store(hn::Add(hn::Load(d, d_g + i), hn::LoadU(d, more + i)), d, d_g + i);
  });
}

// Gradients of a block of x and the carry.
template <typename C>
HWY_NOINLINE void StoreWeighedGradients(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const C* g, const C* d_y, int64_t first, int64_t count, Stores stores) {
  const bool masks = function.masks();
  RealBlock<C> result;
  C* const d_x = BlockFor(tensors.type, gradients.d_x, first, count, stores, &result);
  WeighBy(masks, g, d_y, count, d_x);
  StoreBlock(tensors.type, d_x, first, count, gradients.d_x, stores);
  if (gradients.d_carry == nullptr) return;
  C* const d_carry = BlockFor(tensors.type, gradients.d_carry, first, count, stores, &result);
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto rest = hn::Sub(hn::Set(d, C{1}), hn::LoadU(d, g + i));
    hn::StoreU(Weighed(d, masks, rest, hn::LoadU(d, d_y + i)), d, d_carry + i);
  });
  StoreBlock(tensors.type, d_carry, first, count, gradients.d_carry, stores);
}

// ---- spans: what of Z is computed at once, a block or, of kSoftmax, as many whole rows as a block
// holds, at least one

HWY_INLINE int64_t SpanEntries(const GateFunction& function, const GateTensors& tensors) {
  if (function.kind != GateKind::kSoftmax) return kRealBlock;
  return RowsAtOnce(tensors.columns) * tensors.columns;
}

// Calls f(first, count) for the spans of Z's entries [begin, end).
template <class F>
HWY_INLINE void ForEachSpan(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end,
    const F& f) {
  const int64_t entries = SpanEntries(function, tensors);
  for (int64_t first = begin; first < end; first += entries) {
    f(first, std::min(entries, end - first));
  }
}

// Memory of one span, up to a whole block.
template <typename C>
class SpanBuffer {
 public:
  SpanBuffer(const GateFunction& function, const GateTensors& tensors) {
    const int64_t entries = SpanEntries(function, tensors);
    if (entries > kRealBlock) memory_ = AlignedBuffer<C>(NumRealBlocks(entries) * kRealBlock);
  }

  C* data() { return memory_.data() == nullptr ? block_.at : memory_.data(); }

 private:
  RealBlock<C> block_;
  AlignedBuffer<C> memory_;
};

// g of a span. Unless `slopes` is null, also what its derivative is made of, the slopes or, of
// kSoftmax, the softmax: returns where that is, which may be in `g`.
template <typename C>
HWY_NOINLINE const C* ComputeGate(
    const GateFunction& function, const GateTensors& tensors, int64_t first, int64_t count, C* g,
    C* slopes) {
  if (function.kind != GateKind::kSoftmax) {
    ApplyGateFunction(function, tensors, first, count, g, slopes);
    return slopes;
  }
  const int64_t rows = count / tensors.columns;
  LoadLogits(function, tensors, first, count, g);
  if (!function.hard) {
    SoftmaxRows(g, rows, tensors.columns);
    return g;
  }
  if (slopes != nullptr) {
    std::copy(g, g + count, slopes);
    SoftmaxRows(slopes, rows, tensors.columns);
  }
  for (int64_t i = 0; i < count; i += tensors.columns) ChooseRow(g + i, tensors.columns);
  return slopes;
}

// The gradient of a span of Z from `d_g`, that of g, in its place.
template <typename C>
HWY_NOINLINE void ToGradientOfLogits(
    const GateFunction& function, const GateTensors& tensors, const C* slopes, int64_t count,
    C* d_g) {
  if (function.kind == GateKind::kSoftmax) {
    for (int64_t i = 0; i < count; i += tensors.columns) {
      SoftmaxGradient(slopes + i, tensors.columns, d_g + i);
    }
    DivideBy(function.tau, count, d_g);
    return;
  }
  const bool masks = function.masks();
  ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::Store(Weighed(d, masks, hn::Load(d, slopes + i), hn::Load(d, d_g + i)), d, d_g + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
