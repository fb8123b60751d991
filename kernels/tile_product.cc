#include "kernels/tile_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_product.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/tile_product-inl.h"
// clang-format on

// NOLINTBEGIN(bugprone-macro-parentheses): a type does not stand in parentheses.

// Highway exports functions, not templates: one of each for float and double.
HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {

#define CAFFE2OP_MASK_PRODUCT_OF(W)                                                               \
  void TileProductOf##W(                                                                          \
      int64_t m, int64_t n, int64_t k, W alpha, Factor<W> a, const W* b, int64_t b_row, bool add, \
      W* c, int64_t c_row) {                                                                      \
    ProductOfTile(m, n, k, alpha, a, b, b_row, add, c, c_row);                                    \
  }                                                                                               \
  void PackTransposedOf##W(const W* rows, int64_t n, int64_t k, W* packed) {                      \
    TransposeToPanels(rows, n, k, packed);                                                        \
  }                                                                                               \
  void RowProductsOf##W(                                                                          \
      int64_t m, int64_t n, int64_t k, W alpha, const W* a, const W* rows, W* c, int64_t c_row) { \
    ProductsOfRows(m, n, k, alpha, a, rows, c, c_row);                                            \
  }

CAFFE2OP_MASK_PRODUCT_OF(float)
CAFFE2OP_MASK_PRODUCT_OF(double)
#undef CAFFE2OP_MASK_PRODUCT_OF

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace caffe2op_mask {

#define CAFFE2OP_MASK_PRODUCT_OF(W)                                                               \
  HWY_EXPORT(TileProductOf##W);                                                                   \
  HWY_EXPORT(PackTransposedOf##W);                                                                \
  HWY_EXPORT(RowProductsOf##W);                                                                   \
  void TileProduct(                                                                               \
      int64_t m, int64_t n, int64_t k, W alpha, Factor<W> a, const W* b, int64_t b_row, bool add, \
      W* c, int64_t c_row) {                                                                      \
    HWY_DYNAMIC_DISPATCH(TileProductOf##W)(m, n, k, alpha, a, b, b_row, add, c, c_row);           \
  }                                                                                               \
  void PackTransposed(const W* rows, int64_t n, int64_t k, W* packed) {                           \
    HWY_DYNAMIC_DISPATCH(PackTransposedOf##W)(rows, n, k, packed);                                \
  }                                                                                               \
  void PackedProduct(                                                                             \
      int64_t m, int64_t n, int64_t k, W alpha, const W* a, const W* packed, W* c,                \
      int64_t c_row) {                                                                            \
    for (int64_t j = 0; j < n; j += kPanel) {                                                     \
      TileProduct(                                                                                \
          m, kPanel, k, alpha, Factor<W>{a, k, 1}, packed + j * k, kPanel, false, c + j, c_row);  \
    }                                                                                             \
  }                                                                                               \
  void RowProducts(                                                                               \
      int64_t m, int64_t n, int64_t k, W alpha, const W* a, const W* rows, W* c, int64_t c_row) { \
    HWY_DYNAMIC_DISPATCH(RowProductsOf##W)(m, n, k, alpha, a, rows, c, c_row);                    \
  }

CAFFE2OP_MASK_PRODUCT_OF(float)
CAFFE2OP_MASK_PRODUCT_OF(double)
#undef CAFFE2OP_MASK_PRODUCT_OF

}  // namespace caffe2op_mask
#endif  // HWY_ONCE

// NOLINTEND(bugprone-macro-parentheses)
