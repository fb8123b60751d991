#include "kernels/gate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gate.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/gate-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(StoreValues);
HWY_EXPORT(StoreWeighed);
HWY_EXPORT(StoreGated);
HWY_EXPORT(StoreScaled);
HWY_EXPORT(StoreGradients);
HWY_EXPORT(StoreAndSumGradients);
HWY_EXPORT(SumGateGradients);
HWY_EXPORT(SumThresholdGradients);
HWY_EXPORT(StoreSummed);
HWY_EXPORT(StoreThresholdGradient);

// Calls f(begin, end) on ranges of `size` entries, whole units but for the last.
template <class F>
void ForUnits(
    int64_t size, int64_t unit, int64_t entry_bytes, ParallelFor parallel_for, const F& f) {
  const int64_t units = size / unit + (size % unit != 0 ? 1 : 0);
  parallel_for(0, units, GrainFor(unit * entry_bytes), [&](int64_t begin, int64_t end) {
    f(begin * unit, std::min(end * unit, size));
  });
}

// The same on entries of Z: rows of kSoftmax are not cut.
template <class F>
void ForGateUnits(
    const GateFunction& function, const GateTensors& tensors, int64_t entry_bytes,
    ParallelFor parallel_for, const F& f) {
  const bool rows = function.kind == GateKind::kSoftmax;
  const int64_t unit = rows ? std::max<int64_t>(tensors.columns, 1) : kRealBlock;
  ForUnits(tensors.gate_size, unit, entry_bytes, parallel_for, f);
}

// g of all of Z in the type computed in; also in the tensors' type to `g`, unless null.
AlignedBuffer<uint8_t> AllValues(
    const GateFunction& function, const GateTensors& tensors, void* g, ParallelFor parallel_for) {
  const int64_t bytes = WideBytes(tensors.type);
  AlignedBuffer<uint8_t> values(NumRealBlocks(tensors.gate_size) * kRealBlock * bytes);
  ForGateUnits(
      function, tensors, RealBytes(tensors.type) + bytes, parallel_for,
      [&](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(StoreValues)(function, tensors, begin, end, values.data(), g);
      });
  return values;
}

// Sums over a tensor of `size` entries that a smaller one of `entries` is broadcast to.
class Sums {
 public:
  // By f(sum, begin, end, data) on units of a BroadcastSum.
  template <class F>
  Sums(
      int64_t size, int64_t entries, const RowBroadcast& at, int64_t entry_bytes,
      ParallelFor parallel_for, const F& f) {
    const BroadcastSum sum(at);
    parts_.parts = size == 0 ? 1 : sum.parts();
    parts_.entries = entries;
    memory_ = AlignedBuffer<double>(parts_.parts * entries);
    parts_.data = memory_.data();
    if (size == 0) {
      std::fill_n(parts_.data, entries, 0.0);
      return;
    }
    parallel_for(
        0, sum.units(), GrainFor(sum.unit_elements() * entry_bytes),
        [&](int64_t begin, int64_t end) { f(sum, begin, end, parts_.data); });
  }

  const SumParts& parts() const { return parts_; }
  int64_t entry_bytes() const { return 8 * (parts_.parts + 1); }

 private:
  AlignedBuffer<double> memory_;
  SumParts parts_{};
};

void StoreThreshold(
    const GateTensors& tensors, const Sums& sums, void* d_threshold, ParallelFor parallel_for) {
  ForUnits(
      tensors.threshold_size, kRealBlock, sums.entry_bytes(), parallel_for,
      [&](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(StoreThresholdGradient)
        (tensors.type, sums.parts(), begin, end, d_threshold);
      });
}

// From d_z of this type.
void StoreThresholdFrom(
    Real type, const void* d_z, const GateTensors& tensors, void* d_threshold,
    ParallelFor parallel_for) {
  const Sums sums(
      tensors.gate_size, tensors.threshold_size, tensors.threshold_at, RealBytes(type),
      parallel_for, [&](const BroadcastSum& sum, int64_t begin, int64_t end, double* data) {
        HWY_DYNAMIC_DISPATCH(SumThresholdGradients)
        (type, d_z, tensors.threshold_at, sum, begin, end, data);
      });
  StoreThreshold(tensors, sums, d_threshold, parallel_for);
}

// Whether more is added up for a threshold than d_z as it is stored has. Where it is one
// entry each, that is what is to be stored itself.
bool SumsExactThresholds(const GateTensors& tensors, const GateGradients& gradients) {
  return gradients.d_threshold != nullptr && RealBytes(tensors.type) == 2 &&
         tensors.threshold_size < tensors.gate_size;
}

// Where X and Z have one shape, or of g alone.
void GradientOfOneShape(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.gate_size * bytes);
  if (SumsExactThresholds(tensors, gradients)) {
    const Sums sums(
        tensors.gate_size, tensors.threshold_size, tensors.threshold_at, 2 * bytes, parallel_for,
        [&](const BroadcastSum& sum, int64_t begin, int64_t end, double* data) {
          HWY_DYNAMIC_DISPATCH(StoreAndSumGradients)
          (function, tensors, gradients, stores, sum, begin, end, data);
          FinishStores(stores);
        });
    StoreThreshold(tensors, sums, gradients.d_threshold, parallel_for);
    return;
  }
  ForGateUnits(function, tensors, 3 * bytes, parallel_for, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreGradients)(function, tensors, gradients, begin, end, stores);
    FinishStores(stores);
  });
  if (gradients.d_threshold == nullptr) return;
  StoreThresholdFrom(tensors.type, gradients.d_z, tensors, gradients.d_threshold, parallel_for);
}

void GradientOfBroadcast(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.size * bytes);
  const AlignedBuffer<uint8_t> values = AllValues(function, tensors, nullptr, parallel_for);
  ForUnits(tensors.size, kRealBlock, 3 * bytes, parallel_for, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreScaled)
    (function, tensors, gradients, begin, end, values.data(), stores);
    FinishStores(stores);
  });
  const Sums sums(
      tensors.size, tensors.gate_size, tensors.gate_at, 2 * bytes, parallel_for,
      [&](const BroadcastSum& sum, int64_t begin, int64_t end, double* data) {
        HWY_DYNAMIC_DISPATCH(SumGateGradients)(tensors, gradients.d_y, sum, begin, end, data);
      });
  // Where the values have been used, there is room for d_z.
  void* const exact = SumsExactThresholds(tensors, gradients) ? values.data() : nullptr;
  ForGateUnits(
      function, tensors, sums.entry_bytes(), parallel_for, [&](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(StoreSummed)
        (function, tensors, gradients, sums.parts(), begin, end, values.data(), exact);
      });
  if (gradients.d_threshold == nullptr) return;
  const Real type = exact == nullptr ? tensors.type : Real::kFloat32;
  const void* const d_z = exact == nullptr ? gradients.d_z : exact;
  StoreThresholdFrom(type, d_z, tensors, gradients.d_threshold, parallel_for);
}

}  // namespace

void Gate(
    const GateFunction& function, const GateTensors& tensors, void* y, void* g,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.size * bytes);
  if (tensors.size == tensors.gate_size) {
    ForGateUnits(function, tensors, 2 * bytes, parallel_for, [&](int64_t begin, int64_t end) {
      HWY_DYNAMIC_DISPATCH(StoreGated)(function, tensors, begin, end, y, g, stores);
      FinishStores(stores);
    });
    return;
  }
  const AlignedBuffer<uint8_t> values = AllValues(function, tensors, g, parallel_for);
  ForUnits(tensors.size, kRealBlock, 2 * bytes, parallel_for, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreWeighed)(function, tensors, begin, end, values.data(), y, stores);
    FinishStores(stores);
  });
}

void GateGradient(
    const GateFunction& function, const GateTensors& tensors, const GateGradients& gradients,
    ParallelFor parallel_for) {
  const bool one_shape = tensors.size == tensors.gate_size || gradients.d_y == nullptr;
  (one_shape ? GradientOfOneShape : GradientOfBroadcast)(
      function, tensors, gradients, parallel_for);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
