#pragma once

// Products of the tiles that attention is made of: small matrices that lie in the
// second-level cache and need not be packed. Not a BLAS; docs/architecture.md tells
// why the runtime's is not used.

#include <cstdint>

namespace caffe2op_mask {

// Columns of a panel of a packed tile.
constexpr int64_t kPanel = 64;

// A factor whose entry (i, k) is data[i * row + k * column].
template <typename W>
struct Factor {
  const W* data;
  int64_t row;
  int64_t column;
};

// c[i, j] = alpha * (sum over k of a(i, k) b[k * b_row + j]), added to c if `add`, for
// i < m, j < n, with rows of c c_row apart. Sums go through k in order.
void TileProduct(
    int64_t m, int64_t n, int64_t k, float alpha, Factor<float> a, const float* b, int64_t b_row,
    bool add, float* c, int64_t c_row);
void TileProduct(
    int64_t m, int64_t n, int64_t k, double alpha, Factor<double> a, const double* b, int64_t b_row,
    bool add, double* c, int64_t c_row);

// Entries that PackTransposed fills for n rows of k.
constexpr int64_t PackedSize(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * k;
}

// Transposes n rows of k entries into panels: row j of `rows` becomes column j % kPanel
// of panel j / kPanel, each panel k rows of kPanel entries, zeros where there is no j.
void PackTransposed(const float* rows, int64_t n, int64_t k, float* packed);
void PackTransposed(const double* rows, int64_t n, int64_t k, double* packed);

// c[i, j] = alpha * (a[i] times packed column j) for rows of k entries of `a`; writes
// rows of c up to whole panels.
void PackedProduct(
    int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* packed, float* c,
    int64_t c_row);
void PackedProduct(
    int64_t m, int64_t n, int64_t k, double alpha, const double* a, const double* packed, double* c,
    int64_t c_row);

// The same from rows that are not packed, which does not pay for a few rows of `a`;
// writes n entries of each row of c.
void RowProducts(
    int64_t m, int64_t n, int64_t k, float alpha, const float* a, const float* rows, float* c,
    int64_t c_row);
void RowProducts(
    int64_t m, int64_t n, int64_t k, double alpha, const double* a, const double* rows, double* c,
    int64_t c_row);

}  // namespace caffe2op_mask
