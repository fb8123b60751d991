#include "kernels/masked_softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/masked_softmax.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/masked_softmax-inl.h"
// clang-format on

// NOLINTBEGIN(bugprone-macro-parentheses): a type does not stand in parentheses.

// Highway exports functions, not templates: one of each for each element type.
HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

#define CAFFE2OP_MASK_SOFTMAX_OF(T)                                                            \
  void SoftmaxRowsOf##T(                                                                       \
      const Scores<T>& scores, const ScoreMask& mask, const SoftmaxRowsOut<T>& out,            \
      const RowScratch<T>& scratch, int64_t first, int64_t last, ParallelFor parallel_for) {   \
    SoftmaxRows(scores, mask, out, scratch, first, last, parallel_for);                        \
  }                                                                                            \
  void SoftmaxGradientRowOf##T(                                                                \
      const Scores<T>& scores, const ScoreMask& mask, const SoftmaxOutputs<T>& outputs, T* dx, \
      const RowScratch<T>& scratch, int64_t row, double* sums, ParallelFor parallel_for) {     \
    SoftmaxGradientRow(scores, mask, outputs, dx, scratch, row, sums, parallel_for);           \
  }                                                                                            \
  void NarrowSumsOf##T(const double* sums, int64_t count, T* out) {                            \
    NarrowSums(sums, count, out);                                                              \
  }

CAFFE2OP_MASK_SOFTMAX_OF(Float16)
CAFFE2OP_MASK_SOFTMAX_OF(BFloat16)
CAFFE2OP_MASK_SOFTMAX_OF(float)
CAFFE2OP_MASK_SOFTMAX_OF(double)
#undef CAFFE2OP_MASK_SOFTMAX_OF

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/aligned_buffer.h"

namespace caffe2op_mask {
namespace {

#define CAFFE2OP_MASK_SOFTMAX_OF(T)                                                            \
  HWY_EXPORT(SoftmaxRowsOf##T);                                                                \
  HWY_EXPORT(SoftmaxGradientRowOf##T);                                                         \
  void Rows(                                                                                   \
      const Scores<T>& scores, const ScoreMask& mask, const SoftmaxRowsOut<T>& out,            \
      const RowScratch<T>& scratch, int64_t first, int64_t last, ParallelFor parallel_for) {   \
    HWY_DYNAMIC_DISPATCH(SoftmaxRowsOf##T)                                                     \
    (scores, mask, out, scratch, first, last, parallel_for);                                   \
  }                                                                                            \
  void GradientRow(                                                                            \
      const Scores<T>& scores, const ScoreMask& mask, const SoftmaxOutputs<T>& outputs, T* dx, \
      const RowScratch<T>& scratch, int64_t row, double* sums, ParallelFor parallel_for) {     \
    HWY_DYNAMIC_DISPATCH(SoftmaxGradientRowOf##T)                                              \
    (scores, mask, outputs, dx, scratch, row, sums, parallel_for);                             \
  }                                                                                            \
  HWY_EXPORT(NarrowSumsOf##T);                                                                 \
  void Narrow(const double* sums, int64_t count, T* out) {                                     \
    HWY_DYNAMIC_DISPATCH(NarrowSumsOf##T)(sums, count, out);                                   \
  }

CAFFE2OP_MASK_SOFTMAX_OF(Float16)
CAFFE2OP_MASK_SOFTMAX_OF(BFloat16)
CAFFE2OP_MASK_SOFTMAX_OF(float)
CAFFE2OP_MASK_SOFTMAX_OF(double)
#undef CAFFE2OP_MASK_SOFTMAX_OF

// Scratch for rows of a length, with what it lies in.
template <typename T>
class RowBuffer {
 public:
  RowBuffer(int64_t columns, Stores stores) {
    constexpr int64_t kLongestVector = 16;  // in floats, of AVX-512
    const int64_t room = (columns / kLongestVector + 3) * kLongestVector;
    const int64_t sums = 2 * NumPieces(columns) * static_cast<int64_t>(sizeof(double));
    memory_ = AlignedBuffer<Wide<T>>(room + sums / static_cast<int64_t>(sizeof(Wide<T>)));
    scratch_ = {memory_.data(), reinterpret_cast<double*>(memory_.data() + room), stores};
  }

  const RowScratch<T>& scratch() const { return scratch_; }

 private:
  AlignedBuffer<Wide<T>> memory_;
  RowScratch<T> scratch_;
};

// Rows that are worth a thread: an exponential costs as much as to move some bytes.
template <typename T>
int64_t RowGrain(int64_t columns) {
  constexpr int64_t kCostOfEntry = 16;
  return GrainFor(columns * kCostOfEntry);
}

// Who runs rows, and who the pieces of one. Long rows that are fewer than their pieces
// are cut, so that threads share each; others are handed out whole. Both ways give the
// same bits.
struct Sharing {
  ParallelFor rows;
  ParallelFor pieces;
};

Sharing SharingOf(int64_t rows, int64_t columns, ParallelFor parallel_for) {
  constexpr int64_t kLongRow = 4 * kGrainPieces * kPieceEntries;
  const bool cut = columns >= kLongRow && rows < NumPieces(columns);
  return cut ? Sharing{SerialFor, parallel_for} : Sharing{parallel_for, SerialFor};
}

}  // namespace

template <typename T>
void MaskedSoftmax(
    const Scores<T>& scores, const ScoreMask& mask, EmptyRow empty_row, SoftmaxForm form, T* y,
    Wide<T>* lse, ParallelFor parallel_for) {
  const int64_t columns = scores.columns;
  if (columns == 0 && lse != nullptr) {
    std::fill_n(lse, scores.rows, -std::numeric_limits<Wide<T>>::infinity());
  }
  if (scores.rows == 0 || columns == 0) return;
  const Stores stores = StoresFor(scores.rows * columns * static_cast<int64_t>(sizeof(T)));
  const Wide<T> empty = empty_row == EmptyRow::kZero  ? 0
                        : empty_row == EmptyRow::kNaN ? std::numeric_limits<Wide<T>>::quiet_NaN()
                                                      : 1 / static_cast<Wide<T>>(columns);
  const SoftmaxRowsOut<T> out{form, form == SoftmaxForm::kLog ? std::log(empty) : empty, y, lse};
  const Sharing sharing = SharingOf(scores.rows, columns, parallel_for);
  sharing.rows(0, scores.rows, RowGrain<T>(columns), [&](int64_t first, int64_t last) {
    const RowBuffer<T> buffer(columns, stores);
    Rows(scores, mask, out, buffer.scratch(), first, last, sharing.pieces);
    FinishStores(stores);
  });
}

template <typename T>
void MaskedSoftmaxGradient(
    const Scores<T>& scores, const ScoreMask& mask, const SoftmaxOutputs<T>& outputs, T* dx,
    T* dbias, ParallelFor parallel_for) {
  const int64_t columns = scores.columns;
  if (scores.rows == 0 || columns == 0) {
    // Rows without columns may be more than can be gone through.
    const RowBroadcast& bias = scores.bias_rows;
    if (dbias != nullptr) std::fill_n(dbias, bias.small_rows() * bias.small_columns(), T{});
    return;
  }
  const Stores stores = StoresFor(scores.rows * columns * static_cast<int64_t>(sizeof(T)));
  const Sharing sharing = SharingOf(scores.rows, columns, parallel_for);
  if (dbias == nullptr) {
    sharing.rows(0, scores.rows, RowGrain<T>(columns), [&](int64_t first, int64_t last) {
      const RowBuffer<T> buffer(columns, stores);
      for (int64_t row = first; row < last; ++row) {
        GradientRow(scores, mask, outputs, dx, buffer.scratch(), row, nullptr, sharing.pieces);
      }
      FinishStores(stores);
    });
    return;
  }
  // Rows in the order of the bias that they read, so that each of its rows is summed
  // by one thread. Where they are few, each is summed in parts, by a count of its own
  // and not of the threads: sums must not depend on those.
  constexpr int64_t kLeastUnits = 16;
  const RowBroadcast& bias = scores.bias_rows;
  const int64_t entries = bias.small_columns();
  const int64_t parts = std::clamp<int64_t>(
      kLeastUnits / std::max<int64_t>(bias.small_rows(), 1), 1,
      std::max<int64_t>(bias.repeats(), 1));
  const int64_t repeats = (bias.repeats() + parts - 1) / parts;  // of a part, at most
  const int64_t units = bias.small_rows() * parts;
  std::vector<double> part_sums(static_cast<size_t>(parts > 1 ? units * entries : 0));
  sharing.rows(
      0, units, std::max<int64_t>(RowGrain<T>(columns * std::max<int64_t>(repeats, 1)), 1),
      [&](int64_t first, int64_t last) {
        const RowBuffer<T> buffer(columns, stores);
        std::vector<double> row_sums(static_cast<size_t>(parts > 1 ? 0 : entries));
        for (int64_t unit = first; unit < last; ++unit) {
          double* const sums = parts > 1 ? part_sums.data() + unit * entries : row_sums.data();
          std::fill(sums, sums + entries, 0.0);
          const int64_t small_row = unit / parts;
          const int64_t begin = unit % parts * repeats;
          for (int64_t k = begin; k < std::min(begin + repeats, bias.repeats()); ++k) {
            GradientRow(
                scores, mask, outputs, dx, buffer.scratch(), bias.Row(small_row, k), sums,
                SerialFor);
          }
          if (parts == 1) Narrow(sums, entries, dbias + small_row * entries);
        }
        FinishStores(stores);
      });
  if (parts == 1) return;
  for (int64_t small_row = 0; small_row < bias.small_rows(); ++small_row) {
    double* const sums = part_sums.data() + small_row * parts * entries;
    for (int64_t i = entries; i < parts * entries; ++i) sums[i % entries] += sums[i];
    Narrow(sums, entries, dbias + small_row * entries);
  }
}

#define CAFFE2OP_MASK_SOFTMAX_OF(T)                                                          \
  template void MaskedSoftmax(                                                               \
      const Scores<T>&, const ScoreMask&, EmptyRow, SoftmaxForm, T*, Wide<T>*, ParallelFor); \
  template void MaskedSoftmaxGradient(                                                       \
      const Scores<T>&, const ScoreMask&, const SoftmaxOutputs<T>&, T*, T*, ParallelFor);

CAFFE2OP_MASK_SOFTMAX_OF(Float16)
CAFFE2OP_MASK_SOFTMAX_OF(BFloat16)
CAFFE2OP_MASK_SOFTMAX_OF(float)
CAFFE2OP_MASK_SOFTMAX_OF(double)
#undef CAFFE2OP_MASK_SOFTMAX_OF

}  // namespace caffe2op_mask
#endif  // HWY_ONCE

// NOLINTEND(bugprone-macro-parentheses)
