// Per-target code of kernels/gate.h; see kernels/gate.cc.

#if defined(CAFFE2OP_MASK_KERNELS_GATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/aligned_buffer.h"
#include "kernels/gate.h"
#include "kernels/gate_softmax-inl.h"
#include "kernels/random-inl.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// The kinds as functions of one vector, to which they are given what else they
// depend on by way of z; each also tells its derivative.

struct SigmoidGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    return Sigmoid(d, z, slope);
  }
};

struct TanhGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    // 1 - tanh^2 as a sigmoid's derivative, which is exact where tanh is near 1.
    Sigmoid(d, hn::Add(z, z), slope);
    *slope = hn::Mul(*slope, hn::Set(d, hn::TFromD<D>{4}));
    return hn::Tanh(d, z);
  }
};

struct ReluGate {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    const auto closed = hn::Le(z, hn::Zero(d));
    *slope = hn::IfThenZeroElse(closed, hn::Set(d, hn::TFromD<D>{1}));
    return hn::IfThenZeroElse(closed, z);
  }
};

struct HardGate {
  double clip;

  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    using C = hn::TFromD<D>;
    Sigmoid(d, z, slope);
    if (clip > 0) {
      *slope = hn::IfThenZeroElse(hn::Gt(hn::Abs(z), hn::Set(d, static_cast<C>(clip))), *slope);
    }
    return hn::IfThenElseZero(hn::Gt(z, hn::Zero(d)), hn::Set(d, C{1}));
  }
};

struct HardConcreteGate {
  double beta;
  double gamma;
  double zeta;

  template <class D, class V>
  HWY_INLINE V operator()(D d, V z, V* slope) const {
    using C = hn::TFromD<D>;
    const auto zero = hn::Zero(d);
    const auto one = hn::Set(d, C{1});
    V s_slope;
    const auto s = Sigmoid(d, z, &s_slope);
    const auto stretched =
        hn::MulAdd(s, hn::Set(d, static_cast<C>(zeta - gamma)), hn::Set(d, static_cast<C>(gamma)));
    const auto below = hn::Le(stretched, zero);
    const auto above = hn::Ge(stretched, one);
    *slope = hn::IfThenZeroElse(
        hn::Or(below, above), hn::Mul(s_slope, hn::Set(d, static_cast<C>((zeta - gamma) / beta))));
    return hn::IfThenZeroElse(below, hn::IfThenElse(above, one, stretched));
  }
};

// g and, unless null, slopes of a block.
template <class Function, typename C>
HWY_INLINE void ApplyGate(
    const Function& function, const C* z, int64_t count, C* HWY_RESTRICT g,
    C* HWY_RESTRICT slopes) {
  using V = hn::VFromD<hn::ScalableTag<C>>;
  if (slopes == nullptr) {
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      V slope;
      hn::Store(function(d, hn::LoadU(d, z + i), &slope), d, g + i);
    });
  } else {
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      V slope;
      hn::Store(function(d, hn::LoadU(d, z + i), &slope), d, g + i);
      hn::Store(slope, d, slopes + i);
    });
  }
}

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

// Blocks of one piece of work on gates, C in memory's stead.
template <typename C>
class GateWork {
 public:
  GateWork(const GateFunction& function, const GateTensors& tensors)
      : function_(function), tensors_(tensors) {}

  // g and, if asked for, slopes of Z's entries [first, first + count), `first` a
  // multiple of kRealBlock where there is noise. Not for kSoftmax.
  HWY_NOINLINE void Values(int64_t first, int64_t count, C* g, C* slopes) {
    const C* z = LoadBlock(tensors_.type, tensors_.z, first, count, &z_);
    switch (function_.kind) {
      case GateKind::kSigmoid: ApplyGate(SigmoidGate(), z, count, g, slopes); break;
      case GateKind::kTanh: ApplyGate(TanhGate(), z, count, g, slopes); break;
      case GateKind::kRelu: {
        if (tensors_.threshold == nullptr) {
          ApplyGate(ReluGate(), z, count, g, slopes);
          break;
        }
        const C* const threshold = LoadSmall(
            tensors_.type, tensors_.threshold, tensors_.threshold_at, first, count, &other_);
        ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
          hn::Store(hn::Sub(hn::LoadU(d, z + i), hn::Load(d, threshold + i)), d, z_.at + i);
        });
        ApplyGate(ReluGate(), z_.at, count, g, slopes);
        break;
      }
      case GateKind::kHard: ApplyGate(HardGate{function_.clip}, z, count, g, slopes); break;
      case GateKind::kHardConcrete: {
        const double beta = function_.noisy ? function_.beta : 1;
        if (function_.noisy) z = AddNoise(z, first, count);
        const HardConcreteGate gate{beta, function_.gamma, function_.zeta};
        ApplyGate(gate, z, count, g, slopes);
        break;
      }
      case GateKind::kSoftmax: break;
    }
  }

  // Stores what x and the carry are weighed to, by g. `y` may be either of them.
  HWY_NOINLINE void StoreWeighed(const C* g, int64_t first, int64_t count, void* y, Stores stores) {
    const C* const x = LoadBlock(tensors_.type, tensors_.x, first, count, &x_);
    if (tensors_.carry == nullptr) {
      C* const out = BlockFor(tensors_.type, y, first, count, stores, &other_);
      WeighBy(g, x, count, out);
      StoreBlock(tensors_.type, out, first, count, y, stores);
      return;
    }
    WeighBy(g, x, count, other_.at);
    const C* const carry = LoadBlock(tensors_.type, tensors_.carry, first, count, &x_);
    C* const out = BlockFor(tensors_.type, y, first, count, stores, &z_);
    const bool masks = function_.masks();
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto rest = hn::Sub(hn::Set(d, C{1}), hn::LoadU(d, g + i));
      const auto product = Weighed(d, masks, rest, hn::LoadU(d, carry + i));
      hn::StoreU(hn::Add(hn::Load(d, other_.at + i), product), d, out + i);
    });
    StoreBlock(tensors_.type, out, first, count, y, stores);
  }

  // x - carry, or x: what d_y is multiplied with to be the gradient of g.
  HWY_INLINE const C* Difference(int64_t first, int64_t count) {
    const C* const x = LoadBlock(tensors_.type, tensors_.x, first, count, &x_);
    if (tensors_.carry == nullptr) return x;
    const C* const carry = LoadBlock(tensors_.type, tensors_.carry, first, count, &other_);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      hn::Store(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, carry + i)), d, x_.at + i);
    });
    return x_.at;
  }

  // The gradient of g: d_y * (x - carry), and what is given of its own. d_y alone where there
  // is no x.
  HWY_NOINLINE void GradientOfGate(
      const C* d_y, const void* given, int64_t first, int64_t count, C* d_g) {
    if (tensors_.x == nullptr) {
      ForEachVector<C>(
          count, [&](auto d, int64_t i) HWY_ATTR { hn::Store(hn::LoadU(d, d_y + i), d, d_g + i); });
      return;
    }
    const C* const difference = Difference(first, count);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      hn::Store(hn::Mul(hn::LoadU(d, d_y + i), hn::LoadU(d, difference + i)), d, d_g + i);
    });
    if (given == nullptr) return;
    const C* const more = LoadBlock(tensors_.type, given, first, count, &other_);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      hn::Store(hn::Add(hn::Load(d, d_g + i), hn::LoadU(d, more + i)), d, d_g + i);
    });
  }

  // Gradients of x and the carry.
  HWY_NOINLINE void StoreScaled(
      const C* g, const C* d_y, int64_t first, int64_t count, const GateGradients& gradients,
      Stores stores) {
    if (gradients.d_x == nullptr) return;
    C* const d_x = BlockFor(tensors_.type, gradients.d_x, first, count, stores, &x_);
    WeighBy(g, d_y, count, d_x);
    StoreBlock(tensors_.type, d_x, first, count, gradients.d_x, stores);
    if (gradients.d_carry == nullptr) return;
    C* const d_carry = BlockFor(tensors_.type, gradients.d_carry, first, count, stores, &x_);
    const bool masks = function_.masks();
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto rest = hn::Sub(hn::Set(d, C{1}), hn::LoadU(d, g + i));
      hn::StoreU(Weighed(d, masks, rest, hn::LoadU(d, d_y + i)), d, d_carry + i);
    });
    StoreBlock(tensors_.type, d_carry, first, count, gradients.d_carry, stores);
  }

  // The gradient of z from `d_g`, that of g, in its place.
  HWY_NOINLINE void TimesSlope(const C* slopes, int64_t count, C* d_g) {
    const bool masks = function_.masks();
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto slope = hn::Load(d, slopes + i);
      const auto product = hn::Mul(slope, hn::Load(d, d_g + i));
      const auto flat = hn::Eq(slope, hn::Zero(d));
      hn::Store(masks ? hn::IfThenZeroElse(flat, product) : product, d, d_g + i);
    });
  }

 private:
  // weight * value, and 0 for a gate that masks what it is closed to.
  template <class D, class V>
  static HWY_INLINE V Weighed(D d, bool masks, V weight, V value) {
    const V product = hn::Mul(weight, value);
    return masks ? hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), product) : product;
  }

  HWY_INLINE void WeighBy(const C* weights, const C* values, int64_t count, C* out) {
    const bool masks = function_.masks();
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      hn::StoreU(
          Weighed(d, masks, hn::LoadU(d, weights + i), hn::LoadU(d, values + i)), d, out + i);
    });
  }

  // (z + log u - log(1 - u)) / beta, with u of (0, 1).
  HWY_NOINLINE const C* AddNoise(const C* z, int64_t first, int64_t count) {
    HWY_ALIGN uint32_t numbers[kRealBlock];
    RandomNumbers(function_.noise, first, count, numbers);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto scale = hn::Set(d, static_cast<C>(1 / function_.beta));
      const auto noisy = hn::Add(hn::LoadU(d, z + i), RandomLogit(d, numbers + i));
      hn::Store(hn::Mul(noisy, scale), d, z_.at + i);
    });
    return z_.at;
  }

  const GateFunction& function_;
  const GateTensors& tensors_;
  RealBlock<C> x_;
  RealBlock<C> z_;
  RealBlock<C> other_;
};

// Z's blocks [begin, end): g, by which C is meant, to `values`, and to `g` in the
// tensors' type; either may be null.
template <typename C>
HWY_NOINLINE void StoreValues(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end, C* values,
    void* g) {
  GateWork<C> work(function, tensors);
  RealBlock<C> block;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, tensors.gate_size - first);
    work.Values(first, count, block.at, nullptr);
    if (values != nullptr) std::copy(block.at, block.at + count, values + first);
    if (g != nullptr) StoreBlock(tensors.type, block.at, first, count, g, Stores::kCached);
  }
}

// The same for the rows [begin, end) of kSoftmax.
template <typename C>
HWY_NOINLINE void StoreSoftmax(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end, C* values,
    void* g) {
  const int64_t columns = tensors.columns;
  const int64_t at_once = RowsAtOnce(columns);
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t rows = std::min(at_once, end - row);
    const int64_t first = row * columns;
    LoadSoftmax(function, tensors, first, rows, values + first);
    if (g != nullptr) StoreSpan(tensors.type, values + first, first, rows * columns, g);
  }
}

// X's blocks [begin, end). Where `values` is null, X and Z have one shape and what
// Z's block becomes is stored to `g` too, unless that is null.
template <typename C>
HWY_INLINE void StoreGated(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end,
    const C* values, void* y, void* g, Stores stores) {
  GateWork<C> work(function, tensors);
  RealBlock<C> gate;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, tensors.size - first);
    if (values == nullptr) {
      work.Values(first, count, gate.at, nullptr);
      if (g != nullptr) StoreBlock(tensors.type, gate.at, first, count, g, stores);
    } else {
      GatherSmall(values, tensors.gate_at, first, count, gate.at);
    }
    work.StoreWeighed(gate.at, first, count, y, stores);
  }
}

// Entries of the rows that kSoftmax goes through at once, up to a whole block.
template <typename C>
AlignedBuffer<C> RowsBuffer(const GateTensors& tensors) {
  const int64_t entries = RowsAtOnce(tensors.columns) * tensors.columns;
  return AlignedBuffer<C>(NumRealBlocks(entries) * kRealBlock);
}

// The same for rows [begin, end) of kSoftmax, where X and Z have one shape.
template <typename C>
HWY_INLINE void StoreGatedRows(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end, void* y,
    void* g, Stores stores) {
  GateWork<C> work(function, tensors);
  const AlignedBuffer<C> gate = RowsBuffer<C>(tensors);
  const int64_t at_once = RowsAtOnce(tensors.columns);
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t rows = std::min(at_once, end - row);
    const int64_t first = row * tensors.columns;
    const int64_t count = rows * tensors.columns;
    LoadSoftmax(function, tensors, first, rows, gate.data());
    for (int64_t i = 0; i < count; i += kRealBlock) {
      const int64_t in_block = std::min(kRealBlock, count - i);
      const C* const weights = gate.data() + i;
      if (g != nullptr) StoreBlock(tensors.type, weights, first + i, in_block, g, stores);
      work.StoreWeighed(weights, first + i, in_block, y, stores);
    }
  }
}

// Gradients for X's blocks [begin, end): with `values` those of x and the carry
// alone; without, where X and Z have one shape, all of them.
template <typename C>
HWY_INLINE void StoreGradients(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    int64_t begin, int64_t end, const C* values, Stores stores) {
  GateWork<C> work(function, tensors);
  RealBlock<C> gate;
  RealBlock<C> slope;
  RealBlock<C> d_gate;
  RealBlock<C> loaded;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, tensors.size - first);
    const C* const d_y = LoadBlock(tensors.type, gradients.d_y, first, count, &loaded);
    if (values != nullptr) {
      GatherSmall(values, tensors.gate_at, first, count, gate.at);
      work.StoreScaled(gate.at, d_y, first, count, gradients, stores);
      continue;
    }
    work.GradientOfGate(d_y, gradients.d_g, first, count, d_gate.at);
    work.Values(first, count, gate.at, slope.at);
    work.StoreScaled(gate.at, d_y, first, count, gradients, stores);
    work.TimesSlope(slope.at, count, d_gate.at);
    StoreBlock(tensors.type, d_gate.at, first, count, gradients.d_z, stores);
  }
}

// The same for rows [begin, end) of kSoftmax, where X and Z have one shape.
template <typename C>
HWY_INLINE void StoreGradientRows(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    int64_t begin, int64_t end, Stores stores) {
  GateWork<C> work(function, tensors);
  const AlignedBuffer<C> gate = RowsBuffer<C>(tensors);
  const AlignedBuffer<C> d_gate = RowsBuffer<C>(tensors);
  AlignedBuffer<C> choice;
  if (function.hard) choice = RowsBuffer<C>(tensors);
  const C* const weights = function.hard ? choice.data() : gate.data();
  RealBlock<C> loaded;
  const int64_t columns = tensors.columns;
  const int64_t at_once = RowsAtOnce(columns);
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t rows = std::min(at_once, end - row);
    const int64_t first = row * columns;
    const int64_t count = rows * columns;
    LoadLogits(function, tensors, first, rows, gate.data());
    if (function.hard) {
      std::copy(gate.data(), gate.data() + count, choice.data());
      ChooseRows(choice.data(), rows, columns);
    }
    SoftmaxRows(gate.data(), rows, columns);
    for (int64_t i = 0; i < count; i += kRealBlock) {
      const int64_t in_block = std::min(kRealBlock, count - i);
      const C* const d_y = LoadBlock(tensors.type, gradients.d_y, first + i, in_block, &loaded);
      work.GradientOfGate(d_y, gradients.d_g, first + i, in_block, d_gate.data() + i);
      work.StoreScaled(weights + i, d_y, first + i, in_block, gradients, stores);
    }
    for (int64_t i = 0; i < count; i += columns) {
      SoftmaxGradient(gate.data() + i, columns, d_gate.data() + i);
    }
    DivideBy(function.tau, count, d_gate.data());
    for (int64_t i = 0; i < count; i += kRealBlock) {
      const int64_t in_block = std::min(kRealBlock, count - i);
      StoreBlock(tensors.type, d_gate.data() + i, first + i, in_block, gradients.d_z, stores);
    }
  }
}

// A tensor of `size` entries, of which each of the `sums` entries of another, which is
// broadcast to it, gets the sum of those that it serves.
struct SumShape {
  int64_t size;
  int64_t sums;
  const RowBroadcast& at;
};

// What is summed for the gradient of Z: of each entry of X d_y * (x - carry), or d_y alone
// where there is no x.
template <typename C>
class GateFactors {
 public:
  GateFactors(
      const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients)
      : work_(function, tensors), tensors_(tensors), d_y_(gradients.d_y) {
    std::fill(ones_.at, ones_.at + kRealBlock, C{1});
  }

  // The two factors of the entries [first, first + count), with a product of 0 up to the
  // end of the last vector.
  HWY_INLINE void Load(int64_t first, int64_t count, const C** a, const C** b) {
    *a = LoadBlock(tensors_.type, d_y_, first, count, &loaded_);
    *b = tensors_.x == nullptr ? ones_.at : work_.Difference(first, count);
  }

 private:
  GateWork<C> work_;
  const GateTensors& tensors_;
  const void* d_y_;
  RealBlock<C> loaded_;
  RealBlock<C> ones_;
};

// What is summed for the gradient of a threshold where X and Z have one shape: d_z as C, since
// what is stored of it in 16 bits has lost too much. All gradients are stored on the way.
template <typename C>
class ThresholdFactors {
 public:
  ThresholdFactors(
      const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients)
      : work_(function, tensors),
        tensors_(tensors),
        gradients_(gradients),
        stores_(StoresFor(tensors.size * RealBytes(tensors.type))) {
    std::fill(ones_.at, ones_.at + kRealBlock, C{1});
  }
  ThresholdFactors(const ThresholdFactors&) = delete;
  ThresholdFactors& operator=(const ThresholdFactors&) = delete;
  ~ThresholdFactors() { FinishStores(stores_); }

  HWY_INLINE void Load(int64_t first, int64_t count, const C** a, const C** b) {
    const C* const d_y = LoadBlock(tensors_.type, gradients_.d_y, first, count, &loaded_);
    work_.GradientOfGate(d_y, gradients_.d_g, first, count, d_gate_.at);
    work_.Values(first, count, gate_.at, slope_.at);
    work_.StoreScaled(gate_.at, d_y, first, count, gradients_, stores_);
    work_.TimesSlope(slope_.at, count, d_gate_.at);
    StoreBlock(tensors_.type, d_gate_.at, first, count, gradients_.d_z, stores_);
    const int64_t lanes = LanesOf(hn::ScalableTag<C>());
    for (int64_t i = count; i % lanes != 0; ++i) d_gate_.at[i] = 0;
    *a = d_gate_.at;
    *b = ones_.at;
  }

 private:
  GateWork<C> work_;
  const GateTensors& tensors_;
  const GateGradients& gradients_;
  const Stores stores_;
  RealBlock<C> gate_;
  RealBlock<C> slope_;
  RealBlock<C> d_gate_;
  RealBlock<C> loaded_;
  RealBlock<C> ones_;
};

// Sums of the products of Factors.
template <typename C, class Factors>
class GateSums {
 public:
  GateSums(
      const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
      const SumShape& shape)
      : factors_(function, tensors, gradients), shape_(shape), at_(shape.at) {}

  // Units [begin, end) of `sum`. Part p of entry e goes to sums[p * shape.sums + e].
  HWY_INLINE void Store(const BroadcastSum& sum, int64_t begin, int64_t end, double* sums) {
    for (int64_t u = begin; u < end; ++u) {
      const BroadcastSum::Unit unit = sum.UnitAt(u);
      double* const out = sums + unit.part * shape_.sums + unit.small_row * at_.small_columns();
      if (at_.column_stride() == 0) {
        *out = SumOfAll(unit);
      } else {
        StoreByColumn(unit, out + unit.column);
      }
    }
  }

  // Where each entry serves one short row: entries [begin, end).
  HWY_INLINE void StoreShortRows(int64_t begin, int64_t end, double* sums) {
    const int64_t columns = at_.columns();
    const int64_t at_once = RowsAtOnce(columns);
    for (int64_t row = begin; row < end; row += at_once) {
      const int64_t rows = std::min(at_once, end - row);
      Load(row * columns, rows * columns);
      for (int64_t r = 0; r < rows; ++r) {
        double total = 0;
        for (int64_t i = r * columns; i < (r + 1) * columns; ++i) {
          total += double{a_[i]} * double{b_[i]};
        }
        sums[row + r] = total;
      }
    }
  }

 private:
  // Not inline: all that a gate computes would be compiled again wherever this stands.
  HWY_NOINLINE void Load(int64_t first, int64_t count) { factors_.Load(first, count, &a_, &b_); }

  HWY_INLINE double SumOfAll(const BroadcastSum::Unit& unit) {
    double total = 0;
    for (int64_t k = unit.repeat; k < unit.repeat + unit.repeats; ++k) {
      const int64_t first = at_.Row(unit.small_row, k) * at_.columns() + unit.column;
      for (int64_t j = 0; j < unit.columns; j += kRealBlock) {
        const int64_t count = std::min(kRealBlock, unit.columns - j);
        Load(first + j, count);
        total += SumOfProducts(a_, b_, count);
      }
    }
    return total;
  }

  HWY_INLINE void StoreByColumn(const BroadcastSum::Unit& unit, double* out) {
    // Short rows that follow one another are added up as many as a block holds at once,
    // each in a place of its own, and at last to one another.
    const bool apart = at_.small_rows() > 1 || unit.columns < at_.columns();
    const int64_t at_once = apart ? 1 : std::min(RowsAtOnce(unit.columns), unit.repeats);
    std::fill(totals_, totals_ + kRealBlock, 0.0);
    for (int64_t k = 0; k < unit.repeats; k += at_once) {
      const int64_t rows = std::min(at_once, unit.repeats - k);
      const int64_t row = at_.Row(unit.small_row, unit.repeat + k);
      Load(row * at_.columns() + unit.column, rows * unit.columns);
      AddProducts(a_, b_, rows * unit.columns, totals_);
    }
    for (int64_t j = 0; j < unit.columns; ++j) {
      double total = totals_[j];
      for (int64_t r = 1; r < at_once; ++r) total += totals_[r * unit.columns + j];
      out[j] = total;
    }
  }

  Factors factors_;
  const SumShape& shape_;
  const RowBroadcast& at_;
  const C* a_ = nullptr;
  const C* b_ = nullptr;
  HWY_ALIGN double totals_[kRealBlock];
};

// The sum of the parts of entries [first, first + count).
template <typename C>
HWY_INLINE void AddParts(
    const double* sums, int64_t parts, int64_t stride, int64_t first, int64_t count, C* out) {
  HWY_ALIGN double total[kRealBlock];
  std::fill(total, total + count, 0.0);
  for (int64_t p = 0; p < parts; ++p) {
    for (int64_t i = 0; i < count; ++i) total[i] += sums[p * stride + first + i];
  }
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(total[i]);
}

// From sums to the gradient of Z's blocks [begin, end); unless null, `wide` gets it too,
// before it is rounded.
template <typename C>
HWY_INLINE void StoreGateGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const double* sums, int64_t parts, int64_t begin, int64_t end, C* wide) {
  GateWork<C> work(function, tensors);
  RealBlock<C> gate;
  RealBlock<C> slope;
  RealBlock<C> d_gate;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, tensors.gate_size - first);
    work.Values(first, count, gate.at, slope.at);
    AddParts(sums, parts, tensors.gate_size, first, count, d_gate.at);
    if (gradients.d_g != nullptr) {
      const C* const d_g = LoadBlock(tensors.type, gradients.d_g, first, count, &gate);
      for (int64_t i = 0; i < count; ++i) d_gate.at[i] += d_g[i];
    }
    work.TimesSlope(slope.at, count, d_gate.at);
    if (wide != nullptr) std::copy(d_gate.at, d_gate.at + count, wide + first);
    StoreBlock(tensors.type, d_gate.at, first, count, gradients.d_z, Stores::kCached);
  }
}

// The same for the rows [begin, end) of kSoftmax: g * (d_g - sum of g * d_g) / tau.
template <typename C>
HWY_INLINE void StoreSoftmaxGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const C* values, double* sums, int64_t parts, int64_t begin, int64_t end) {
  const int64_t columns = tensors.columns;
  const int64_t at_once = RowsAtOnce(columns);
  RealBlock<C> block;
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t last = std::min(row + at_once, end) * columns;
    for (int64_t first = row * columns; first < last; first += kRealBlock) {
      const int64_t count = std::min(kRealBlock, last - first);
      double* const d_gate = sums + first;
      if (parts == 0) std::fill(d_gate, d_gate + count, 0.0);
      for (int64_t p = 1; p < parts; ++p) {
        for (int64_t i = 0; i < count; ++i) d_gate[i] += d_gate[p * tensors.gate_size + i];
      }
      if (gradients.d_g == nullptr) continue;
      const C* const d_g = LoadBlock(tensors.type, gradients.d_g, first, count, &block);
      for (int64_t i = 0; i < count; ++i) d_gate[i] += double{d_g[i]};
    }
    for (int64_t first = row * columns; first < last; first += columns) {
      double weighted = 0;
      for (int64_t i = first; i < first + columns; ++i) weighted += double{values[i]} * sums[i];
      for (int64_t i = first; i < first + columns; ++i) {
        sums[i] = double{values[i]} * (sums[i] - weighted);
      }
    }
    DivideBy(function.tau, last - row * columns, sums + row * columns);
    for (int64_t first = row * columns; first < last; first += kRealBlock) {
      const int64_t count = std::min(kRealBlock, last - first);
      for (int64_t i = 0; i < count; ++i) block.at[i] = static_cast<C>(sums[first + i]);
      StoreBlock(tensors.type, block.at, first, count, gradients.d_z, Stores::kCached);
    }
  }
}

// minus the sum of the parts: the gradient of the threshold's blocks [begin, end).
template <typename C>
HWY_INLINE void StoreThresholdGradient(
    Real type, int64_t size, const double* sums, int64_t parts, int64_t begin, int64_t end,
    void* d_threshold) {
  RealBlock<C> block;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, size - first);
    AddParts(sums, parts, size, first, count, block.at);
    for (int64_t i = 0; i < count; ++i) block.at[i] = C{0} - block.at[i];
    StoreBlock(type, block.at, first, count, d_threshold, Stores::kCached);
  }
}

// Whether more is added up for a threshold than d_z as it is stored has. Where it is one
// entry each, that is what is to be stored itself.
HWY_INLINE bool SumsWideThresholds(const GateTensors& tensors) {
  return RealBytes(tensors.type) == 2 && tensors.threshold_size < tensors.gate_size;
}

// All of these sums; returns how many parts each has.
template <typename C, class Factors>
HWY_INLINE int64_t SumAll(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const SumShape& shape, AlignedBuffer<double>* sums, ParallelFor parallel_for) {
  if (shape.size == 0) {
    *sums = AlignedBuffer<double>(shape.sums);
    return 0;
  }
  const RowBroadcast& at = shape.at;
  const int64_t bytes = RealBytes(tensors.type) * (tensors.x == nullptr ? 1 : 2);
  if (at.column_stride() == 0 && at.repeats() == 1 && at.columns() <= 32) {
    *sums = AlignedBuffer<double>(shape.sums);
    double* const to = sums->data();
    parallel_for(
        0, shape.sums, GrainFor(at.columns() * bytes), [&](int64_t begin, int64_t end) HWY_ATTR {
          GateSums<C, Factors>(function, tensors, gradients, shape).StoreShortRows(begin, end, to);
        });
    return 1;
  }
  const BroadcastSum sum(at);
  *sums = AlignedBuffer<double>(shape.sums * sum.parts());
  double* const to = sums->data();
  parallel_for(
      0, sum.units(), GrainFor(sum.unit_elements() * bytes),
      [&](int64_t begin, int64_t end) HWY_ATTR {
        GateSums<C, Factors>(function, tensors, gradients, shape).Store(sum, begin, end, to);
      });
  return sum.parts();
}

HWY_INLINE int64_t SoftmaxRowsOf(const GateTensors& tensors) {
  return tensors.gate_size == 0 ? 0 : tensors.gate_size / tensors.columns;
}

// g, by which C is meant, of all of Z into `values`; also into `g` unless null.
template <typename C>
HWY_NOINLINE void AllValues(
    const GateFunction& function, const GateTensors& tensors, C* values, void* g,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type) + static_cast<int64_t>(sizeof(C));
  if (function.kind == GateKind::kSoftmax) {
    parallel_for(
        0, SoftmaxRowsOf(tensors), GrainFor(tensors.columns * bytes),
        [&](int64_t begin, int64_t end)
            HWY_ATTR { StoreSoftmax<C>(function, tensors, begin, end, values, g); });
  } else {
    parallel_for(
        0, NumRealBlocks(tensors.gate_size), GrainFor(kRealBlock * bytes),
        [&](int64_t begin, int64_t end)
            HWY_ATTR { StoreValues<C>(function, tensors, begin, end, values, g); });
  }
}

// Whether a piece of X is the same entries of Z, so that g need not be kept.
HWY_INLINE bool IsOneToOne(const GateTensors& tensors) {
  return tensors.size == tensors.gate_size;
}

template <typename C>
HWY_INLINE void GateAs(
    const GateFunction& function, const GateTensors& tensors, void* y, void* g,
    ParallelFor parallel_for) {
  const bool one_to_one = IsOneToOne(tensors);
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.size * bytes);
  if (one_to_one && function.kind == GateKind::kSoftmax) {
    parallel_for(
        0, SoftmaxRowsOf(tensors), GrainFor(2 * tensors.columns * bytes),
        [&](int64_t begin, int64_t end) HWY_ATTR {
          StoreGatedRows<C>(function, tensors, begin, end, y, g, stores);
          FinishStores(stores);
        });
    return;
  }
  AlignedBuffer<C> memory;
  if (!one_to_one) {
    memory = AlignedBuffer<C>(tensors.gate_size);
    AllValues<C>(function, tensors, memory.data(), g, parallel_for);
  }
  const C* const values = memory.data();
  parallel_for(
      0, NumRealBlocks(tensors.size), GrainFor(2 * kRealBlock * bytes),
      [&](int64_t begin, int64_t end) HWY_ATTR {
        StoreGated<C>(function, tensors, begin, end, values, y, g, stores);
        FinishStores(stores);
      });
}

template <typename C>
HWY_INLINE void GateGradientAs(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  const bool one_to_one = IsOneToOne(tensors);
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.size * bytes);
  if (one_to_one && function.kind == GateKind::kSoftmax) {
    parallel_for(
        0, SoftmaxRowsOf(tensors), GrainFor(3 * tensors.columns * bytes),
        [&](int64_t begin, int64_t end) HWY_ATTR {
          StoreGradientRows<C>(function, tensors, gradients, begin, end, stores);
          FinishStores(stores);
        });
    return;
  }
  AlignedBuffer<C> memory;
  AlignedBuffer<double> sums;
  if (!one_to_one) {
    memory = AlignedBuffer<C>(tensors.gate_size);
    AllValues<C>(function, tensors, memory.data(), nullptr, parallel_for);
  }
  C* const values = memory.data();
  const SumShape of_threshold{tensors.gate_size, tensors.threshold_size, tensors.threshold_at};
  const bool sums_wide = gradients.d_threshold != nullptr && SumsWideThresholds(tensors);
  int64_t threshold_parts = 0;
  if (one_to_one && sums_wide) {
    threshold_parts = SumAll<C, ThresholdFactors<C>>(
        function, tensors, gradients, of_threshold, &sums, parallel_for);
  } else {
    parallel_for(
        0, NumRealBlocks(tensors.size), GrainFor(3 * kRealBlock * bytes),
        [&](int64_t begin, int64_t end) HWY_ATTR {
          StoreGradients<C>(function, tensors, gradients, begin, end, values, stores);
          FinishStores(stores);
        });
  }
  if (!one_to_one) {
    const SumShape shape{tensors.size, tensors.gate_size, tensors.gate_at};
    const int64_t parts =
        SumAll<C, GateFactors<C>>(function, tensors, gradients, shape, &sums, parallel_for);
    if (function.kind == GateKind::kSoftmax) {
      if (function.hard) {
        GateFunction soft = function;  // straight through
        soft.hard = false;
        AllValues<C>(soft, tensors, values, nullptr, parallel_for);
      }
      parallel_for(
          0, SoftmaxRowsOf(tensors), GrainFor(tensors.columns * 8 * (parts + 1)),
          [&](int64_t begin, int64_t end) HWY_ATTR {
            StoreSoftmaxGradient<C>(
                function, tensors, gradients, values, sums.data(), parts, begin, end);
          });
    } else {
      // The values have been used: there is room for d_z.
      C* const wide = sums_wide ? values : nullptr;
      parallel_for(
          0, NumRealBlocks(tensors.gate_size), GrainFor(kRealBlock * 8 * (parts + 1)),
          [&](int64_t begin, int64_t end) HWY_ATTR {
            StoreGateGradient<C>(
                function, tensors, gradients, sums.data(), parts, begin, end, wide);
          });
    }
  }
  if (gradients.d_threshold == nullptr) return;
  // d_z, summed over what shares a threshold.
  if (!one_to_one || !sums_wide) {
    GateTensors d_z{};
    d_z.type = sums_wide ? Real::kFloat32 : tensors.type;
    GateGradients summed{};
    summed.d_y = sums_wide ? values : gradients.d_z;
    threshold_parts =
        SumAll<C, GateFactors<C>>(function, d_z, summed, of_threshold, &sums, parallel_for);
  }
  parallel_for(
      0, NumRealBlocks(tensors.threshold_size), GrainFor(kRealBlock * 8 * (threshold_parts + 1)),
      [&](int64_t begin, int64_t end) HWY_ATTR {
        StoreThresholdGradient<C>(
            tensors.type, tensors.threshold_size, sums.data(), threshold_parts, begin, end,
            gradients.d_threshold);
      });
}

void RunGate(
    const GateFunction& function, const GateTensors& tensors, void* y, void* g,
    ParallelFor parallel_for) {
  if (tensors.type == Real::kFloat64) {
    GateAs<double>(function, tensors, y, g, parallel_for);
  } else {
    GateAs<float>(function, tensors, y, g, parallel_for);
  }
}

void RunGateGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  if (tensors.type == Real::kFloat64) {
    GateGradientAs<double>(function, tensors, gradients, parallel_for);
  } else {
    GateGradientAs<float>(function, tensors, gradients, parallel_for);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
