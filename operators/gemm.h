#pragma once

// Products of matrices by the BLAS that the runtime brings.

#include <cstdint>

namespace caffe2 {
namespace mask {

// As kernels/masked_attention.h asks for it: c = alpha a b + beta c by rows.
void Gemm(
    bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
    const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
void Gemm(
    bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha,
    const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
    int64_t ldc);

}  // namespace mask
}  // namespace caffe2
