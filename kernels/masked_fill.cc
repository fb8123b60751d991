#include "kernels/masked_fill.h"

#include "kernels/chunk.h"

namespace caffe2op_mask {

MaskBroadcast::MaskBroadcast(
    const int64_t* data_dims, int64_t data_rank, const int64_t* mask_dims, int64_t mask_rank) {
  for (int64_t d = data_rank - 1; d >= mask_rank; --d) repeat_ *= data_dims[d];
  // From the inside out, neighbours that step through the mask alike merge.
  std::vector<Dim> dims;
  int64_t stride = 1;
  for (int64_t d = mask_rank - 1; d >= 0; --d) {
    const Dim dim{data_dims[d], mask_dims[d] == 1 ? 0 : stride};
    stride *= mask_dims[d];
    if (dim.size == 1) continue;
    if (dims.empty() && dim.stride == 0) {
      repeat_ *= dim.size;
    } else if (!dims.empty() && dims.back().stride * dims.back().size == dim.stride) {
      dims.back().size *= dim.size;
    } else {
      dims.push_back(dim);
    }
  }
  if (!dims.empty()) {
    columns_ = dims.front().size;
    dims_.assign(dims.rbegin(), dims.rend() - 1);
  }
  for (const Dim& dim : dims_) outer_ *= dim.size;
}

int64_t MaskBroadcast::MaskOffset(int64_t outer_index) const {
  int64_t offset = 0;
  for (auto dim = dims_.rbegin(); dim != dims_.rend(); ++dim) {
    offset += outer_index % dim->size * dim->stride;
    outer_index /= dim->size;
  }
  return offset;
}

void MaskedFill(
    const bool* mask, const MaskBroadcast& shape, int64_t width, const void* in,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for) {
  const int64_t columns = shape.columns();
  const int64_t row_bytes = shape.repeat() * width;
  if (shape.outer() == 0 || columns == 0 || row_bytes == 0) return;
  const auto* const from = static_cast<const uint8_t*>(in);
  auto* const to = static_cast<uint8_t*>(out);
  const Stores stores = StoresFor(shape.outer() * columns * row_bytes);
  parallel_for(
      0, shape.outer() * columns, GrainFor(row_bytes), [=, &shape](int64_t row, int64_t end) {
        while (row < end) {
          const int64_t column = row % columns;
          const int64_t count = std::min({end - row, columns - column, kChunkEntries});
          uint64_t words[kChunkWords];
          PackChunk(mask + shape.MaskOffset(row / columns) + column, count, words);
          const int64_t offset = row * row_bytes;
          SelectChunk(words, count, row_bytes, from + offset, fill_pattern, to + offset, stores);
          row += count;
        }
        FinishStores(stores);
      });
}

}  // namespace caffe2op_mask
