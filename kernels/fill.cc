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

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(FillBytes);
HWY_EXPORT(CopyBytes);
HWY_EXPORT(MaskBytes);
HWY_EXPORT(MaskEach);

// What one core may count on: where a machine tells of more, many cores share it.
int64_t LastLevelCacheBytes() {
  constexpr int64_t kMost = int64_t{32} << 20;
  const auto told = int64_t{sysconf(_SC_LEVEL3_CACHE_SIZE)};  // 0 or -1 where it does not tell
  return told > 0 ? std::min(told, kMost) : kMost;
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
  HWY_DYNAMIC_DISPATCH(FillBytes)(pattern, bytes, out, stores);
}

void CopySpan(const uint8_t* in, int64_t bytes, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(CopyBytes)(in, bytes, out, stores);
}

void MaskSpan(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(MaskBytes)(in, bytes, keep_begin, keep_end, fill_pattern, out, stores);
}

void MaskSpans(
    const uint8_t* in, int64_t bytes, const Interval* kept, int64_t unit, int64_t count,
    uint64_t fill_pattern, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(MaskEach)(in, bytes, kept, unit, count, fill_pattern, out, stores);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
