#include "kernels/fill.h"

namespace caffe2op_mask {

void FillSpan(uint64_t pattern, int64_t bytes, uint8_t* out) {
  int64_t i = 0;
  for (; i + 8 <= bytes; i += 8) std::memcpy(out + i, &pattern, 8);
  // Elements divide 8 bytes, so the pattern's first bytes are whole elements.
  std::memcpy(out + i, &pattern, static_cast<size_t>(bytes - i));
}

void MaskSpan(
    const uint8_t* in, int64_t bytes, int64_t keep_begin, int64_t keep_end, uint64_t fill_pattern,
    uint8_t* out) {
  FillSpan(fill_pattern, keep_begin, out);
  if (in != out && keep_end > keep_begin) {
    std::memcpy(out + keep_begin, in + keep_begin, static_cast<size_t>(keep_end - keep_begin));
  }
  FillSpan(fill_pattern, bytes - keep_end, out + keep_end);
}

}  // namespace caffe2op_mask
