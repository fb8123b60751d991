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

HWY_INLINE void FillBytes(
    uint64_t pattern, int64_t bytes, uint8_t* HWY_RESTRICT out, Stores stores) {
  const Bytes d;
  const auto vector = static_cast<int64_t>(hn::Lanes(d));
  if (bytes < vector) {
    int64_t i = 0;
    for (; i + 8 <= bytes; i += 8) std::memcpy(out + i, &pattern, 8);
    // Elements divide 8 bytes, so the pattern's first bytes are whole elements.
    for (; i < bytes; ++i) out[i] = static_cast<uint8_t>(pattern >> (8 * (i & 7)));
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

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
