#include "kernels/mixture_gate.h"

#include <algorithm>

#include "kernels/aligned_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mixture_gate.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/mixture_gate-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(StoreWeights);
HWY_EXPORT(StoreMixture);
HWY_EXPORT(StoreExpertGradients);
HWY_EXPORT(StoreLogitGradients);

// The rows of Z to go through: none where they have no entries, however many they are.
int64_t RowsWithExperts(const MixtureTensors& tensors) {
  return tensors.experts == 0 ? 0 : tensors.rows;
}

}  // namespace

void MixtureGate(const MixtureTensors& tensors, void* y, void* g, ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type);
  const Stores stores = StoresFor(tensors.rows * tensors.columns * bytes);
  const int64_t rows = RowsWithExperts(tensors);
  const AlignedBuffer<uint8_t> weights(rows * tensors.experts * WideBytes(tensors.type));
  parallel_for(0, rows, GrainFor(tensors.experts * 4 * bytes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreWeights)(tensors, begin, end, nullptr, weights.data(), g);
  });
  const int64_t block_bytes = std::min(kRealBlock, tensors.columns) * bytes;
  parallel_for(
      0, tensors.rows * NumRealBlocks(tensors.columns), GrainFor((tensors.top_k + 1) * block_bytes),
      [&](int64_t begin, int64_t end) {
        HWY_DYNAMIC_DISPATCH(StoreMixture)(tensors, weights.data(), begin, end, y, stores);
        FinishStores(stores);
      });
}

void MixtureGateGradient(
    const MixtureTensors& tensors, const void* d_y, const void* d_g, void* d_e, void* d_z,
    ParallelFor parallel_for) {
  const int64_t bytes = RealBytes(tensors.type);
  const int64_t rows = RowsWithExperts(tensors);
  const int64_t count = rows * tensors.experts;
  const Stores stores = StoresFor(count * tensors.columns * bytes);
  const AlignedBuffer<uint8_t> softmax(count * WideBytes(tensors.type));
  const AlignedBuffer<uint8_t> weights(count * WideBytes(tensors.type));
  const AlignedBuffer<double> sums(count);
  parallel_for(0, rows, GrainFor(tensors.experts * 4 * bytes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreWeights)
    (tensors, begin, end, softmax.data(), weights.data(), nullptr);
  });
  parallel_for(0, count, GrainFor(3 * tensors.columns * bytes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreExpertGradients)
    (tensors, weights.data(), d_y, begin, end, d_e, sums.data(), stores);
    FinishStores(stores);
  });
  parallel_for(0, rows, GrainFor(tensors.experts * 4 * bytes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(StoreLogitGradients)
    (tensors, softmax.data(), weights.data(), d_g, begin, end, sums.data(), d_z);
  });
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
