#pragma once

// Products of the tiles that attention is made of: small matrices that lie in the
// second-level cache and need not be packed. Not a BLAS; docs/architecture.md says
// why the runtime's is not used.

#include <cstdint>

#include "kernels/real.h"

namespace caffe2op_mask {

// Columns of a panel of a packed tile.
constexpr int64_t kPanel = 64;

// A factor whose entry (i, k) is data[i * row + k * column].
struct Factor {
  const void* data;
  int64_t row;
  int64_t column;
};

// All matrices are of Wide<T>, with T as `type` says.

// c[i, j] = alpha * (sum over k of a(i, k) b[k * b_row + j]), added to c if `add`, for
// i < m, j < n, with rows of c c_row apart. Sums go through k in order.
void TileProduct(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, Factor a, const void* b,
    int64_t b_row, bool add, void* c, int64_t c_row);

// Entries that PackTransposed fills for n rows of k.
constexpr int64_t PackedSize(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k;
}

// Transposes n rows of k entries, `row` entries apart, into panels: row j of `rows` becomes column
// j % kPanel of panel j / kPanel, each panel k rows of kPanel entries, zeros where there is no j.
void PackTransposed(Real type, const void* rows, int64_t row, int64_t n, int64_t k, void* packed);

// c[i, j] = alpha * (a[i] times packed column j) for rows of k entries of `a`; writes
// rows of c up to whole panels.
void PackedProduct(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, const void* a, const void* packed,
    void* c, int64_t c_row);

// The same from rows that are not packed, `row` entries apart, which does not pay for a few rows of
// `a`; writes n entries of each row of c.
void RowProducts(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, const void* a, const void* rows,
    int64_t row, void* c, int64_t c_row);

}  // namespace caffe2op_mask
