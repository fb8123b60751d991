// Per-target code of kernels/fill.h; see kernels/fill.cc.

#if defined(CAFFE2OP_MASK_KERNELS_FILL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_FILL_INL_H_
#undef CAFFE2OP_MASK_KERNELS_FILL_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_FILL_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/fill.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Bytes = hn::ScalableTag<uint8_t>;
using Words = hn::ScalableTag<uint64_t>;

// Below this a span is not worth the lines at its ends that cannot be streamed.
constexpr int64_t kLeastStreamed = 512;

// Bytes to the next address that a whole vector may be streamed to.
HWY_INLINE int64_t ToAligned(const uint8_t* address, int64_t vector) {
  return static_cast<int64_t>(
      -reinterpret_cast<uintptr_t>(address) & static_cast<uintptr_t>(vector - 1));
}

// Calls f(offset, step) for steps of 8, then 4, 2 and 1 bytes; step() is a constant,
// so that a memcpy of it is one move and no call.
template <class F>
HWY_INLINE void InSteps(int64_t bytes, const F& f) {
  int64_t i = 0;
  for (; i + 8 <= bytes; i += 8) f(i, std::integral_constant<size_t, 8>());
  if ((bytes & 4) != 0) f(i, std::integral_constant<size_t, 4>());
  i += bytes & 4;
  if ((bytes & 2) != 0) f(i, std::integral_constant<size_t, 2>());
  i += bytes & 2;
  if ((bytes & 1) != 0) f(i, std::integral_constant<size_t, 1>());
}

HWY_INLINE void FillBytes(
    uint64_t pattern, int64_t bytes, uint8_t* HWY_RESTRICT out, Stores stores) {
  const Bytes d;
  const auto vector = static_cast<int64_t>(hn::Lanes(d));
  if (bytes < vector) {
    // Elements divide 8 bytes, so the pattern's first bytes are whole elements.
    InSteps(bytes, [&](int64_t i, auto step) { std::memcpy(out + i, &pattern, step()); });
    return;
  }
  auto fill = hn::BitCast(d, hn::Set(Words(), pattern));
  // The last vector overlaps the one before: a whole number of elements fits
  // between them, so the pattern is in step.
  hn::StoreU(fill, d, out + bytes - vector);
  int64_t i = 0;
  if (stores == Stores::kStreamed && bytes >= kLeastStreamed) {
    hn::StoreU(fill, d, out);
    i = ToAligned(out, vector);
    // Where elements lie at odd addresses, the aligned one is not the start of one.
    const int64_t turn = 8 * (i & 7);
    if (turn != 0) {
      fill = hn::BitCast(d, hn::Set(Words(), pattern >> turn | pattern << (64 - turn)));
    }
    for (; i + 4 * vector <= bytes; i += 4 * vector) {
      hn::Stream(fill, d, out + i);
      hn::Stream(fill, d, out + i + vector);
      hn::Stream(fill, d, out + i + 2 * vector);
      hn::Stream(fill, d, out + i + 3 * vector);
    }
  }
  for (; i + vector <= bytes; i += vector) hn::StoreU(fill, d, out + i);
}

HWY_INLINE void CopyBytes(
    const uint8_t* HWY_RESTRICT in, int64_t bytes, uint8_t* HWY_RESTRICT out, Stores stores) {
  if (bytes < 64) {
    InSteps(bytes, [&](int64_t i, auto step) { std::memcpy(out + i, in + i, step()); });
    return;
  }
  if (stores == Stores::kCached || bytes < kLeastStreamed) {
    std::memcpy(out, in, static_cast<size_t>(bytes));
    return;
  }
  const Bytes d;
  const auto vector = static_cast<int64_t>(hn::Lanes(d));
  hn::StoreU(hn::LoadU(d, in), d, out);
  int64_t i = ToAligned(out, vector);
  for (; i + 4 * vector <= bytes; i += 4 * vector) {
    const auto v0 = hn::LoadU(d, in + i);
    const auto v1 = hn::LoadU(d, in + i + vector);
    const auto v2 = hn::LoadU(d, in + i + 2 * vector);
    const auto v3 = hn::LoadU(d, in + i + 3 * vector);
    hn::Stream(v0, d, out + i);
    hn::Stream(v1, d, out + i + vector);
    hn::Stream(v2, d, out + i + 2 * vector);
    hn::Stream(v3, d, out + i + 3 * vector);
  }
  std::memcpy(out + i, in + i, static_cast<size_t>(bytes - i));
}

HWY_INLINE void MaskBytes(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out, Stores stores) {
  if (keep_begin > 0) FillBytes(fill_pattern, keep_begin, out, stores);
  if (in != out && keep_end > keep_begin) {
    CopyBytes(in + keep_begin, keep_end - keep_begin, out + keep_begin, stores);
  }
  if (keep_end < bytes) FillBytes(fill_pattern, bytes - keep_end, out + keep_end, stores);
}

HWY_INLINE void MaskSpans(
    const uint8_t* in, int64_t bytes, const Interval* HWY_RESTRICT kept, int64_t unit,
    int64_t count, uint64_t fill_pattern, uint8_t* out, Stores stores) {
#if HWY_TARGET <= HWY_AVX3
  // A span that fits into a register: what is masked is neither loaded nor, in place, stored.
  if (bytes <= 64) {
    const auto below = [](int64_t end)
                           HWY_ATTR { return _bzhi_u64(~uint64_t{0}, static_cast<unsigned>(end)); };
    const uint64_t span = below(bytes);
    const __m512i fill = _mm512_set1_epi64(static_cast<int64_t>(fill_pattern));
    for (int64_t i = 0; i < count; ++i, in += bytes, out += bytes) {
      const uint64_t keep = below(kept[i].end * unit) & ~below(kept[i].begin * unit);
      const __m512i merged = in == out ? fill : _mm512_mask_loadu_epi8(fill, keep, in);
      _mm512_mask_storeu_epi8(out, in == out ? span & ~keep : span, merged);
    }
    return;
  }
#endif
  for (int64_t i = 0; i < count; ++i, in += bytes, out += bytes) {
    MaskBytes(in, bytes, kept[i].begin * unit, kept[i].end * unit, fill_pattern, out, stores);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
