#include "kernels/masked_fill.h"

#include <algorithm>

#include "kernels/chunk.h"

namespace caffe2op_mask {

MaskBroadcast::MaskBroadcast(
    const int64_t* data_dims, int64_t data_rank, const int64_t* mask_dims, int64_t mask_rank) {
  // Nothing to see; the product of the other dims need not even be an int64.
  if (std::count(data_dims, data_dims + data_rank, 0) > 0) {
    outer_ = 0;
    return;
  }
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
  if (row_bytes > kGrainBytes) {
    // Few entries, each for much data: threads share the elements, not the entries.
    const int64_t repeat = shape.repeat();
    parallel_for(
        0, shape.outer() * columns * repeat, GrainFor(width),
        [=, &shape](int64_t begin, int64_t end) {
          while (begin < end) {
            const int64_t row = begin / repeat;
            const int64_t next = std::min(end, (row + 1) * repeat);
            uint64_t word = 0;
            PackChunk(mask + shape.MaskOffset(row / columns) + row % columns, 1, &word);
            const int64_t bytes = (next - begin) * width;
            const int64_t kept = word == 0 ? 0 : bytes;
            MaskSpan(
                from + begin * width, bytes, 0, kept, fill_pattern, to + begin * width, stores);
            begin = next;
          }
          FinishStores(stores);
        });
    return;
  }
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
