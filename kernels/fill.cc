#include "kernels/fill.h"

#include <unistd.h>

#include <algorithm>

#include "hwy/cache_control.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fill.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/fill-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace {

// Other kernels have these inline, by names of their own.
void FillSpan(uint64_t pattern, int64_t bytes, uint8_t* out, Stores stores) {
  FillBytes(pattern, bytes, out, stores);
}

void CopySpan(const uint8_t* in, int64_t bytes, uint8_t* out, Stores stores) {
  CopyBytes(in, bytes, out, stores);
}

void MaskSpan(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out, Stores stores) {
  MaskBytes(in, bytes, keep_begin, keep_end, fill_pattern, out, stores);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(FillSpan);
HWY_EXPORT(CopySpan);
HWY_EXPORT(MaskSpan);
HWY_EXPORT(MaskSpans);

// What one core may count on: where a machine has more, many cores share it.
int64_t LastLevelCacheBytes() {
  constexpr int64_t kMost = int64_t{32} << 20;
  const auto bytes = int64_t{sysconf(_SC_LEVEL3_CACHE_SIZE)};  // 0 or -1 where it is not known
  return bytes > 0 ? std::min(bytes, kMost) : kMost;
}

}  // namespace

Stores StoresFor(int64_t output_bytes) {
  static const int64_t cache = LastLevelCacheBytes();
  return output_bytes > cache ? Stores::kStreamed : Stores::kCached;
}

void FinishStores(Stores stores) {
  if (stores == Stores::kStreamed) hwy::FlushStream();
}

void FillSpan(uint64_t pattern, int64_t bytes, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(FillSpan)(pattern, bytes, out, stores);
}

void CopySpan(const uint8_t* in, int64_t bytes, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(CopySpan)(in, bytes, out, stores);
}

void MaskSpan(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(MaskSpan)(in, bytes, keep_begin, keep_end, fill_pattern, out, stores);
}

void MaskSpans(
    const uint8_t* in, int64_t bytes, const Interval* kept, int64_t unit, int64_t count,
    uint64_t fill_pattern, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(MaskSpans)(in, bytes, kept, unit, count, fill_pattern, out, stores);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
