// Per-target code of kernels/random_mask.h; see kernels/random_mask.cc.

#if defined(CAFFE2OP_MASK_KERNELS_RANDOM_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_RANDOM_MASK_INL_H_
#undef CAFFE2OP_MASK_KERNELS_RANDOM_MASK_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_RANDOM_MASK_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/log-inl.h"
#include "kernels/random-inl.h"
#include "kernels/random_mask.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

template <typename C>
HWY_INLINE void BernoulliBlocks(
    Real type, const void* z, int64_t size, RandomStream stream, int64_t begin, int64_t end,
    bool* mask, void* log_prob, Stores stores) {
  HWY_ALIGN uint32_t numbers[kRealBlock];
  HWY_ALIGN uint8_t drawn[kRealBlock];
  RealBlock<C> loaded;
  RealBlock<C> out;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, size - first);
    const C* const logits = LoadBlock(type, z, first, count, &loaded);
    RandomNumbers(stream, first, count, numbers);
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto zero = hn::Zero(d);
      const auto x = hn::LoadU(d, logits + i);
      const auto kept = hn::Lt(RandomUnit(d, numbers + i), Sigmoid(d, x));
      // log sigmoid(s) = -(max(-s, 0) + log(1 + exp(-|s|))), s = x or -x.
      const auto negated = hn::IfThenElse(kept, hn::Neg(x), x);
      const auto rest = LogOnePlus(d, ExpOfNegative(d, hn::Neg(hn::Abs(x))));
      hn::Store(hn::Sub(zero, hn::Add(hn::Max(negated, zero), rest)), d, out.at + i);
      StoreKept(d, kept, drawn + i);
    });
    CopyBytes(drawn, count, reinterpret_cast<uint8_t*>(mask + first), Stores::kCached);
    StoreBlock(type, out.at, first, count, log_prob, stores);
  }
}

template <typename C>
HWY_INLINE void BernoulliGradientBlocks(
    Real type, const void* z, const bool* mask, const void* d_log_prob, int64_t size, int64_t begin,
    int64_t end, void* d_z, Stores stores) {
  const auto* const keep = reinterpret_cast<const uint8_t*>(mask);
  RealBlock<C> loaded_z;
  RealBlock<C> loaded_d;
  RealBlock<C> out;
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * kRealBlock;
    const int64_t count = std::min(kRealBlock, size - first);
    const C* const logits = LoadBlock(type, z, first, count, &loaded_z);
    const C* const d_log = LoadBlock(type, d_log_prob, first, count, &loaded_d);
    // mask - sigmoid(z), as what does not cancel: sigmoid(-z) or -sigmoid(z).
    for (int64_t i = 0; i < count; ++i) out.at[i] = keep[first + i] != 0 ? C{-1} : C{1};
    ForEachVector<C>(count, [&](auto d, int64_t i) HWY_ATTR {
      const auto sign = hn::Load(d, out.at + i);
      const auto x = hn::LoadU(d, logits + i);
      const auto slope = hn::Neg(hn::Mul(sign, Sigmoid(d, hn::Mul(sign, x))));
      hn::Store(hn::Mul(slope, hn::LoadU(d, d_log + i)), d, out.at + i);
    });
    StoreBlock(type, out.at, first, count, d_z, stores);
  }
}

void BernoulliMask(
    Real type, const void* z, int64_t size, RandomStream stream, int64_t begin, int64_t end,
    bool* mask, void* log_prob, Stores stores) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    BernoulliBlocks<decltype(wide)>(type, z, size, stream, begin, end, mask, log_prob, stores);
  });
}

void BernoulliMaskGradient(
    Real type, const void* z, const bool* mask, const void* d_log_prob, int64_t size, int64_t begin,
    int64_t end, void* d_z, Stores stores) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    BernoulliGradientBlocks<decltype(wide)>(
        type, z, mask, d_log_prob, size, begin, end, d_z, stores);
  });
}

// Entries of the groups [begin, end): False where a number is at most `last`.
void RandomMaskElements(
    uint32_t last, int64_t size, RandomStream stream, int64_t begin, int64_t end, bool* mask) {
  const hn::ScalableTag<uint32_t> d;
  HWY_ALIGN uint32_t numbers[kRandomGroup];
  HWY_ALIGN uint8_t drawn[kRandomGroup];
  for (int64_t group = begin; group < end; ++group) {
    const int64_t first = group * kRandomGroup;
    const int64_t count = std::min(kRandomGroup, size - first);
    RandomGroup(stream, group, numbers);
    for (int64_t i = 0; i < kRandomGroup; i += LanesOf(d)) {
      StoreKept(d, hn::Gt(hn::Load(d, numbers + i), hn::Set(d, last)), drawn + i);
    }
    CopyBytes(drawn, count, reinterpret_cast<uint8_t*>(mask + first), Stores::kCached);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
