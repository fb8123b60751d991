// Per-target code of kernels/gate.h: sums of products over what a smaller tensor is broadcast to,
// in double and in an order that the shapes alone give (BroadcastSum).

#if defined(CAFFE2OP_MASK_KERNELS_GATE_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_GATE_SUM_INL_H_
#undef CAFFE2OP_MASK_KERNELS_GATE_SUM_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_GATE_SUM_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/real_block-inl.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

// The factors of a block, readable up to the next whole vector, where products are 0.
template <typename C>
struct Factors {
  const C* a;
  const C* b;
};

// Reference to `f(first, count)`, which loads the factors of a block and must outlive it: sums are
// compiled once for all of what they sum.
template <typename C>
class FactorsLoader {
 public:
  template <class F>
  FactorsLoader(const F& f)  // NOLINT(google-explicit-constructor): a lambda passes as an argument
      : object_(&f), call_([](const void* object, int64_t first, int64_t count) HWY_ATTR {
          return (*static_cast<const F*>(object))(first, count);
        }) {}

  Factors<C> operator()(int64_t first, int64_t count) const { return call_(object_, first, count); }

 private:
  const void* object_;
  Factors<C> (*call_)(const void*, int64_t, int64_t);
};

template <typename C>
HWY_INLINE double SumOfUnit(
    const RowBroadcast& at, const BroadcastSum::Unit& unit, FactorsLoader<C> load) {
  double total = 0;
  for (int64_t k = unit.repeat; k < unit.repeat + unit.repeats; ++k) {
    const int64_t first = at.Row(unit.small_row, k) * at.columns() + unit.column;
    for (int64_t j = 0; j < unit.columns; j += kRealBlock) {
      const int64_t count = std::min(kRealBlock, unit.columns - j);
      const Factors<C> factors = load(first + j, count);
      total += SumOfProducts(factors.a, factors.b, count);
    }
  }
  return total;
}

// A sum for each column of a unit.
template <typename C>
HWY_INLINE void SumColumnsOfUnit(
    const RowBroadcast& at, const BroadcastSum::Unit& unit, FactorsLoader<C> load, double* out) {
  static_assert(BroadcastSum::kColumns <= kRealBlock, "a row of a unit is a block");
  // Short rows that follow one another are added up as many as a block holds at once,
  // each in a place of its own, and at last to one another.
  const bool apart = at.small_rows() > 1 || unit.columns < at.columns();
  const int64_t at_once = apart ? 1 : std::min(RowsAtOnce(unit.columns), unit.repeats);
  RealBlock<double> totals;
  std::fill(totals.at, totals.at + kRealBlock, 0.0);
  for (int64_t k = 0; k < unit.repeats; k += at_once) {
    const int64_t count = std::min(at_once, unit.repeats - k) * unit.columns;
    const int64_t row = at.Row(unit.small_row, unit.repeat + k);
    const Factors<C> factors = load(row * at.columns() + unit.column, count);
    AddProducts(factors.a, factors.b, count, totals.at);
  }
  for (int64_t j = 0; j < unit.columns; ++j) {
    double total = totals.at[j];
    for (int64_t r = 1; r < at_once; ++r) total += totals.at[r * unit.columns + j];
    out[j] = total;
  }
}

// Where each entry serves one short row: entries [begin, end), of which many share a load.
template <typename C>
HWY_INLINE void SumShortRows(
    int64_t columns, int64_t begin, int64_t end, FactorsLoader<C> load, double* sums) {
  const int64_t at_once = RowsAtOnce(columns);
  for (int64_t row = begin; row < end; row += at_once) {
    const int64_t rows = std::min(at_once, end - row);
    const Factors<C> factors = load(row * columns, rows * columns);
    for (int64_t r = 0; r < rows; ++r) {
      double total = 0;
      for (int64_t i = r * columns; i < (r + 1) * columns; ++i) {
        total += double{factors.a[i]} * double{factors.b[i]};
      }
      sums[row + r] = total;
    }
  }
}

// Units [begin, end) of `sum`, of the products of load(first, count): Factors of a block of the
// larger tensor. Part p of entry e goes to sums[p * entries + e].
template <typename C>
HWY_NOINLINE void SumProducts(
    const RowBroadcast& at, const BroadcastSum& sum, int64_t begin, int64_t end,
    FactorsLoader<C> load, double* sums) {
  const bool by_column = at.column_stride() != 0;
  // A unit is a row then.
  if (!by_column && at.repeats() == 1 && at.columns() <= 32) {
    SumShortRows(at.columns(), begin, end, load, sums);
    return;
  }
  const int64_t entries = at.small_rows() * at.small_columns();
  for (int64_t u = begin; u < end; ++u) {
    const BroadcastSum::Unit unit = sum.UnitAt(u);
    double* const out = sums + unit.part * entries + unit.small_row * at.small_columns();
    if (by_column) {
      SumColumnsOfUnit(at, unit, load, out + unit.column);
    } else {
      *out = SumOfUnit(at, unit, load);
    }
  }
}

// out[0, count) = the sums of the entries [first, first + count).
template <typename C>
HWY_INLINE void AddParts(const SumParts& sums, int64_t first, int64_t count, C* out) {
  HWY_ALIGN double total[kRealBlock];
  std::fill(total, total + count, 0.0);
  for (int64_t p = 0; p < sums.parts; ++p) {
    for (int64_t i = 0; i < count; ++i) total[i] += sums.data[p * sums.entries + first + i];
  }
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(total[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
