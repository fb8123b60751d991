// Per-target code of kernels/gate.h: what one thread does of a gate; see kernels/gate.cc. Ranges of
// Z's entries hold whole spans (kernels/gate_block-inl.h) but for the last, and those of X whole
// blocks. `values` are g of all of Z, in the type computed in; there is room for whole blocks of
// them.

#if defined(CAFFE2OP_MASK_KERNELS_GATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/gate.h"
#include "kernels/gate_block-inl.h"
#include "kernels/gate_sum-inl.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// Entries [begin, end) of Z: g to `values` and, unless null, to `g` in the tensors' type.
void StoreValues(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end,
    void* values, void* g) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    ForEachSpan(function, tensors, begin, end, [&](int64_t first, int64_t count) HWY_ATTR {
      C* const gate = static_cast<C*>(values) + first;
      ComputeGate<C>(function, tensors, first, count, gate, nullptr);
      if (g != nullptr) StoreSpan(tensors.type, gate, first, count, g);
    });
  });
}

// Entries [begin, end) of X, by `values`.
void StoreWeighed(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end,
    const void* values, void* y, Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    RealBlock<C> gate;
    for (int64_t first = begin; first < end; first += kRealBlock) {
      const int64_t count = std::min(kRealBlock, end - first);
      GatherSmall(static_cast<const C*>(values), tensors.gate_at, first, count, gate.at);
      StoreWeighedBlock(function, tensors, gate.at, first, count, y, stores);
    }
  });
}

// Where X and Z have one shape, entries [begin, end) of y and, unless null, g.
void StoreGated(
    const GateFunction& function, const GateTensors& tensors, int64_t begin, int64_t end, void* y,
    void* g, Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    SpanBuffer<C> gate(function, tensors);
    ForEachSpan(function, tensors, begin, end, [&](int64_t span, int64_t entries) HWY_ATTR {
      ComputeGate<C>(function, tensors, span, entries, gate.data(), nullptr);
      ForEachBlock(entries, [&](int64_t i, int64_t count) HWY_ATTR {
        const C* const block = gate.data() + i;
        if (g != nullptr) StoreBlock(tensors.type, block, span + i, count, g, stores);
        StoreWeighedBlock(function, tensors, block, span + i, count, y, stores);
      });
    });
  });
}

// Entries [begin, end) of d_x and d_carry, by `values`.
void StoreScaled(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    int64_t begin, int64_t end, const void* values, Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    RealBlock<C> gate;
    RealBlock<C> loaded;
    for (int64_t first = begin; first < end; first += kRealBlock) {
      const int64_t count = std::min(kRealBlock, end - first);
      const C* const d_y = LoadBlock(tensors.type, gradients.d_y, first, count, &loaded);
      GatherSmall(static_cast<const C*>(values), tensors.gate_at, first, count, gate.at);
      StoreWeighedGradients(function, tensors, gradients, gate.at, d_y, first, count, stores);
    }
  });
}

// Gradients where X and Z have one shape, or of g alone, span by span.
template <typename C>
class SpanGradients {
 public:
  SpanGradients(
      const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
      Stores stores)
      : function_(function),
        tensors_(tensors),
        gradients_(gradients),
        stores_(stores),
        gate_(function, tensors),
        slopes_(function, tensors),
        d_gate_(function, tensors) {}

  // Stores all of one span but that of the threshold; returns d_z before it is rounded.
  HWY_NOINLINE C* Store(int64_t span, int64_t entries) {
    C* const g = gate_.data();
    C* const d_g = d_gate_.data();
    const C* const slopes = ComputeGate(function_, tensors_, span, entries, g, slopes_.data());
    ForEachBlock(entries, [&](int64_t i, int64_t count) HWY_ATTR {
      const int64_t first = span + i;
      if (gradients_.d_y == nullptr) {
        LoadSpan(tensors_.type, gradients_.d_g, first, count, d_g + i);
        return;
      }
      RealBlock<C> loaded;
      const C* const d_y = LoadBlock(tensors_.type, gradients_.d_y, first, count, &loaded);
      GradientOfGate(tensors_, d_y, gradients_.d_g, first, count, d_g + i);
      StoreWeighedGradients(function_, tensors_, gradients_, g + i, d_y, first, count, stores_);
    });
    ToGradientOfLogits(function_, tensors_, slopes, entries, d_g);
    ForEachBlock(entries, [&](int64_t i, int64_t count) HWY_ATTR {
      StoreBlock(tensors_.type, d_g + i, span + i, count, gradients_.d_z, stores_);
    });
    return d_g;
  }

 private:
  const GateFunction& function_;
  const GateTensors& tensors_;
  const GateGradients& gradients_;
  const Stores stores_;
  SpanBuffer<C> gate_;
  SpanBuffer<C> slopes_;
  SpanBuffer<C> d_gate_;
};

// The same for entries [begin, end) of Z.
void StoreGradients(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    int64_t begin, int64_t end, Stores stores) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    SpanGradients<decltype(wide)> spans(function, tensors, gradients, stores);
    ForEachSpan(function, tensors, begin, end, [&](int64_t first, int64_t count) HWY_ATTR {
      spans.Store(first, count);
    });
  });
}

// The same for the entries in units [begin, end) of what thresholds sum, with these sums of d_z.
// Not of kSoftmax.
void StoreAndSumGradients(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    Stores stores, const BroadcastSum& sum, int64_t begin, int64_t end, double* sums) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    SpanGradients<C> spans(function, tensors, gradients, stores);
    RealBlock<C> ones;
    std::fill(ones.at, ones.at + kRealBlock, C{1});
    const auto load = [&](int64_t first, int64_t count) HWY_ATTR {
      C* const d_z = spans.Store(first, count);
      const int64_t lanes = LanesOf(hn::ScalableTag<C>());
      for (int64_t i = count; i % lanes != 0; ++i) d_z[i] = 0;
      return Factors<C>{d_z, ones.at};
    };
    SumProducts<C>(tensors.threshold_at, sum, begin, end, load, sums);
  });
}

// Units [begin, end) of the sums, for each entry of Z, of d_y * (x - carry).
void SumGateGradients(
    const GateTensors& tensors, const void* d_y, const BroadcastSum& sum, int64_t begin,
    int64_t end, double* sums) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    RealBlock<C> loaded;
    RealBlock<C> difference;
    const auto load = [&](int64_t first, int64_t count) HWY_ATTR {
      const C* const d = LoadBlock(tensors.type, d_y, first, count, &loaded);
      return Factors<C>{d, LoadDifference(tensors, first, count, &difference)};
    };
    SumProducts<C>(tensors.gate_at, sum, begin, end, load, sums);
  });
}

// Units [begin, end) of the sums, for each entry of a threshold, of d_z, which is of this type.
void SumThresholdGradients(
    Real type, const void* d_z, const RowBroadcast& at, const BroadcastSum& sum, int64_t begin,
    int64_t end, double* sums) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    RealBlock<C> loaded;
    RealBlock<C> ones;
    std::fill(ones.at, ones.at + kRealBlock, C{1});
    const auto load = [&](int64_t first, int64_t count) HWY_ATTR {
      return Factors<C>{LoadBlock(type, d_z, first, count, &loaded), ones.at};
    };
    SumProducts<C>(at, sum, begin, end, load, sums);
  });
}

// d_z of a span of kSoftmax, whose soft values are `soft`, in the place of its sums.
template <typename C>
HWY_NOINLINE void StoreSummedSoftmax(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const C* soft, const SumParts& sums, int64_t span, int64_t entries) {
  double* const d_g = sums.data + span;
  RealBlock<C> block;
  ForEachBlock(entries, [&](int64_t i, int64_t count) HWY_ATTR {
    double* const to = d_g + i;
    for (int64_t p = 1; p < sums.parts; ++p) {
      for (int64_t j = 0; j < count; ++j) to[j] += to[p * sums.entries + j];
    }
    if (gradients.d_g == nullptr) return;
    const C* const given = LoadBlock(tensors.type, gradients.d_g, span + i, count, &block);
    for (int64_t j = 0; j < count; ++j) to[j] += double{given[j]};
  });
  for (int64_t row = 0; row < entries; row += tensors.columns) {
    const int64_t end = row + tensors.columns;
    double weighted = 0;
    for (int64_t i = row; i < end; ++i) weighted += double{soft[i]} * d_g[i];
    for (int64_t i = row; i < end; ++i) d_g[i] = double{soft[i]} * (d_g[i] - weighted);
  }
  DivideBy(function.tau, entries, d_g);
  ForEachBlock(entries, [&](int64_t i, int64_t count) HWY_ATTR {
    std::transform(d_g + i, d_g + i + count, block.at, [](double d) { return static_cast<C>(d); });
    StoreBlock(tensors.type, block.at, span + i, count, gradients.d_z, Stores::kCached);
  });
}

// Entries [begin, end) of d_z from the sums. Unless null, `exact` gets it too, before it is
// rounded: not of kSoftmax.
void StoreSummed(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    const SumParts& sums, int64_t begin, int64_t end, const void* values, void* exact) {
  WithWide(tensors.type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    SpanBuffer<C> gate(function, tensors);
    SpanBuffer<C> slopes(function, tensors);
    RealBlock<C> d_g;
    RealBlock<C> loaded;
    const bool known = function.kind == GateKind::kSoftmax && !function.hard;
    ForEachSpan(function, tensors, begin, end, [&](int64_t first, int64_t count) HWY_ATTR {
      const C* const slope =
          known ? static_cast<const C*>(values) + first
                : ComputeGate(function, tensors, first, count, gate.data(), slopes.data());
      if (function.kind == GateKind::kSoftmax) {
        StoreSummedSoftmax(function, tensors, gradients, slope, sums, first, count);
        return;
      }
      AddParts(sums, first, count, d_g.at);
      if (gradients.d_g != nullptr) {
        const C* const given = LoadBlock(tensors.type, gradients.d_g, first, count, &loaded);
        for (int64_t i = 0; i < count; ++i) d_g.at[i] += given[i];
      }
      ToGradientOfLogits(function, tensors, slope, count, d_g.at);
      if (exact != nullptr) std::copy(d_g.at, d_g.at + count, static_cast<C*>(exact) + first);
      StoreBlock(tensors.type, d_g.at, first, count, gradients.d_z, Stores::kCached);
    });
  });
}

// Entries [begin, end) of d_threshold: minus the sums.
void StoreThresholdGradient(
    Real type, const SumParts& sums, int64_t begin, int64_t end, void* d_threshold) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using C = decltype(wide);
    RealBlock<C> block;
    for (int64_t first = begin; first < end; first += kRealBlock) {
      const int64_t count = std::min(kRealBlock, end - first);
      AddParts(sums, first, count, block.at);
      for (int64_t i = 0; i < count; ++i) block.at[i] = C{0} - block.at[i];
      StoreBlock(type, block.at, first, count, d_threshold, Stores::kCached);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
