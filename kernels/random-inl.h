// Per-target code of kernels/random.h.

#if defined(CAFFE2OP_MASK_KERNELS_RANDOM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_RANDOM_INL_H_
#undef CAFFE2OP_MASK_KERNELS_RANDOM_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_RANDOM_INL_H_
#endif

#include <array>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/log-inl.h"
#include "kernels/random.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// out[0, kRandomGroup) becomes the numbers of one group, out 64-byte aligned. So
// that vectors are stored as they are, number w * 64 + j of the group is word w
// of counter group * 64 + j.
HWY_INLINE void RandomGroup(RandomStream stream, int64_t group, uint32_t* out) {
  constexpr int64_t kCounters = kRandomGroup / 4;
#if HWY_TARGET == HWY_SCALAR
  for (int64_t j = 0; j < kCounters; ++j) {
    const auto counter = static_cast<uint64_t>(group * kCounters + j);
    const std::array<uint32_t, 4> words = Philox(stream.seed, 0, counter, stream.run);
    for (size_t word = 0; word < 4; ++word) {
      out[static_cast<int64_t>(word) * kCounters + j] = words[word];
    }
  }
#else
  const hn::ScalableTag<uint64_t> d64;
  const hn::ScalableTag<uint32_t> d32;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d64));
  const auto multiply = [&](uint32_t multiplier, auto c) HWY_ATTR {
    return hn::MulEven(hn::BitCast(d32, c), hn::Set(d32, multiplier));
  };
  const auto lane = hn::Iota(d64, 0);
  // A word is the lower half of its lane; what is in the upper half is of no effect.
  for (int64_t j = 0; j < kCounters; j += 2 * lanes) {
    const auto first = static_cast<uint64_t>(group * kCounters + j);
    auto a0 = hn::Add(hn::Set(d64, first), lane);
    auto b0 = hn::Add(hn::Set(d64, first + static_cast<uint64_t>(lanes)), lane);
    auto a1 = hn::ShiftRight<32>(a0);
    auto b1 = hn::ShiftRight<32>(b0);
    auto a2 = hn::Set(d64, stream.run);
    auto b2 = a2;
    auto a3 = hn::ShiftRight<32>(a2);
    auto b3 = a3;
    uint32_t key_0 = stream.seed;
    uint32_t key_1 = 0;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const auto k0 = hn::Set(d64, uint64_t{key_0});
      const auto k1 = hn::Set(d64, uint64_t{key_1});
      const auto p0 = multiply(kPhiloxMultipliers[0], a0);
      const auto p1 = multiply(kPhiloxMultipliers[1], a2);
      const auto q0 = multiply(kPhiloxMultipliers[0], b0);
      const auto q1 = multiply(kPhiloxMultipliers[1], b2);
      a0 = hn::Xor3(hn::ShiftRight<32>(p1), a1, k0);
      b0 = hn::Xor3(hn::ShiftRight<32>(q1), b1, k0);
      a2 = hn::Xor3(hn::ShiftRight<32>(p0), a3, k1);
      b2 = hn::Xor3(hn::ShiftRight<32>(q0), b3, k1);
      a1 = p1;
      b1 = q1;
      a3 = p0;
      b3 = q0;
      key_0 += kPhiloxWeyl[0];
      key_1 += kPhiloxWeyl[1];
    }
    const auto store = [&](auto a, auto b, int64_t word) HWY_ATTR {
      const auto both = hn::ConcatEven(d32, hn::BitCast(d32, b), hn::BitCast(d32, a));
      hn::Store(both, d32, out + word * kCounters + j);
    };
    store(a0, b0, 0);
    store(a1, b1, 1);
    store(a2, b2, 2);
    store(a3, b3, 3);
  }
#endif
}

// out[0, count) becomes the numbers [first, first + count), `first` a multiple of
// kRandomGroup; whole groups are written.
HWY_INLINE void RandomNumbers(RandomStream stream, int64_t first, int64_t count, uint32_t* out) {
  for (int64_t i = 0; i < count; i += kRandomGroup) {
    RandomGroup(stream, (first + i) / kRandomGroup, out + i);
  }
}

// Numbers as reals u of (0, 1): (2 k + 1) / 2^24 with their 23 high bits k, so that
// u and 1 - u are exact in float too, and neither is ever 0.
template <class D>
HWY_INLINE hn::VFromD<D> RandomUnit(D d, const uint32_t* numbers) {
  using C = hn::TFromD<D>;
  const hn::Rebind<int32_t, D> di32;
  const hn::Rebind<uint32_t, D> du32;
  const auto k = hn::BitCast(di32, hn::ShiftRight<9>(hn::LoadU(du32, numbers)));
  const auto odd = hn::Add(hn::Add(k, k), hn::Set(di32, 1));
  const auto scale = hn::Set(d, C{1} / (1 << 24));
  if constexpr (sizeof(C) == sizeof(float)) {
    return hn::Mul(hn::ConvertTo(d, odd), scale);
  } else {
    return hn::Mul(hn::PromoteTo(d, odd), scale);
  }
}

// log u - log(1 - u) of such a real.
template <class D>
HWY_INLINE hn::VFromD<D> RandomLogit(D d, const uint32_t* numbers) {
  const auto u = RandomUnit(d, numbers);
  return LogRatio(d, u, hn::Sub(hn::Set(d, hn::TFromD<D>{1}), u));
}

// -log(-log u) of such a real: Gumbel's distribution.
template <class D>
HWY_INLINE hn::VFromD<D> RandomGumbel(D d, const uint32_t* numbers) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto exponential = hn::Neg(LogRatio(d, RandomUnit(d, numbers), one));
  return hn::Neg(LogRatio(d, exponential, one));
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
