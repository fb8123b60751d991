#include "kernels/masked_fill.h"

#include <algorithm>

#include "kernels/chunk.h"

namespace caffe2op_mask {

void MaskedFill(
    const bool* mask, const LeadingEntries& entries, int64_t width, const void* in,
    uint64_t fill_pattern, void* out, ParallelFor parallel_for) {
  const RowBroadcast& at = entries.at;
  const int64_t columns = at.columns();
  const int64_t covered = entries.covered;
  const int64_t count = at.rows() * columns;
  const int64_t entry_bytes = covered * width;
  if (entry_bytes == 0) return;
  const auto* const from = static_cast<const uint8_t*>(in);
  auto* const to = static_cast<uint8_t*>(out);
  const Stores stores = StoresFor(count * entry_bytes);
  if (entry_bytes > kGrainBytes) {
    // Few entries, each for much data: threads share the elements, not the entries.
    parallel_for(0, count * covered, GrainFor(width), [=, &at](int64_t element, int64_t end) {
      while (element < end) {
        const int64_t entry = element / covered;
        const int64_t next = std::min(end, (entry + 1) * covered);
        uint64_t word = 0;
        PackChunk(mask + at.Offset(entry / columns) + entry % columns, 1, &word);
        const int64_t bytes = (next - element) * width;
        const int64_t offset = element * width;
        MaskSpan(from + offset, bytes, 0, word == 0 ? 0 : bytes, fill_pattern, to + offset, stores);
        element = next;
      }
      FinishStores(stores);
    });
    return;
  }
  parallel_for(0, count, GrainFor(entry_bytes), [=, &at](int64_t entry, int64_t end) {
    while (entry < end) {
      const int64_t column = entry % columns;
      const int64_t some = std::min({end - entry, columns - column, kChunkEntries});
      uint64_t words[kChunkWords];
      PackChunk(mask + at.Offset(entry / columns) + column, some, words);
      const int64_t offset = entry * entry_bytes;
      SelectChunk(words, some, entry_bytes, from + offset, fill_pattern, to + offset, stores);
      entry += some;
    }
    FinishStores(stores);
  });
}

}  // namespace caffe2op_mask
