#include "operators/gemm.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "caffe2/utils/math.h"

namespace caffe2 {
namespace mask {
namespace {

void BlasGemm(
    CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b, int m, int n, int k, float alpha,
    const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(
      CblasRowMajor, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void BlasGemm(
    CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b, int m, int n, int k, double alpha,
    const double* a, int lda, const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(
      CblasRowMajor, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <typename W>
void Multiply(
    bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, W alpha, const W* a,
    int64_t lda, const W* b, int64_t ldb, W beta, W* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    // BLAS does not take rows of no entries.
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? W{0} : beta * c[i * ldc + j];
    }
    return;
  }
  // BLAS counts in int. Callers multiply tiles, of which only the depth is the user's.
  const auto to_int = [](int64_t size) {
    CAFFE_ENFORCE(
        size <= std::numeric_limits<int>::max(),
        "MaskedAttention: the last dim of Q, K and V must be less than 2^31, but is ", size, ".");
    return static_cast<int>(size);
  };
  const auto transpose = [](bool is) { return is ? CblasTrans : CblasNoTrans; };
  if constexpr (std::is_same<W, float>::value) {
    if (m == 1 && !transpose_a) {
      // A row times a matrix is all of decoding, and a product of matrices is slow at it.
      cblas_sgemv(
          CblasRowMajor, transpose(!transpose_b), to_int(transpose_b ? n : k),
          to_int(transpose_b ? k : n), alpha, b, to_int(ldb), a, 1, beta, c, 1);
      return;
    }
  }
  BlasGemm(
      transpose(transpose_a), transpose(transpose_b), to_int(m), to_int(n), to_int(k), alpha, a,
      to_int(lda), b, to_int(ldb), beta, c, to_int(ldc));
}

}  // namespace

void Gemm(
    bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
    const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  Multiply(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void Gemm(
    bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
    const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
    int64_t ldc) {
  Multiply(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace mask
}  // namespace caffe2
