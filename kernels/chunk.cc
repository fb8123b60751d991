#include "kernels/chunk.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/chunk.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/chunk-inl.h"
// clang-format on

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(PackChunk);
HWY_EXPORT(ClaimChunk);
HWY_EXPORT(CountTrue);
HWY_EXPORT(CompressChunk);
HWY_EXPORT(IndexChunk);
HWY_EXPORT(ExpandChunk);
HWY_EXPORT(BlendChunk);
HWY_EXPORT(SelectChunk);

}  // namespace

int64_t PackChunk(const bool* mask, int64_t count, uint64_t* words) {
  return HWY_DYNAMIC_DISPATCH(PackChunk)(mask, count, words);
}

int64_t ClaimChunk(int64_t count, uint64_t* left, uint64_t* owned) {
  return HWY_DYNAMIC_DISPATCH(ClaimChunk)(count, left, owned);
}

int64_t CountTrue(const bool* mask, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(CountTrue)(mask, n);
}

void CompressChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  HWY_DYNAMIC_DISPATCH(CompressChunk)(words, count, row_bytes, rows, out, stores);
}

void IndexChunk(const uint64_t* words, int64_t count, int64_t base, int64_t* out) {
  HWY_DYNAMIC_DISPATCH(IndexChunk)(words, count, base, out);
}

void ExpandChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  HWY_DYNAMIC_DISPATCH(ExpandChunk)(words, count, row_bytes, rows, out, stores);
}

void BlendChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows, uint8_t* out,
    Stores stores) {
  HWY_DYNAMIC_DISPATCH(BlendChunk)(words, count, row_bytes, rows, out, stores);
}

void SelectChunk(
    const uint64_t* words, int64_t count, int64_t row_bytes, const uint8_t* rows,
    uint64_t fill_pattern, uint8_t* out, Stores stores) {
  HWY_DYNAMIC_DISPATCH(SelectChunk)(words, count, row_bytes, rows, fill_pattern, out, stores);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
