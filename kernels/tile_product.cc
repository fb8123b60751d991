#include "kernels/tile_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_product.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep; includes this file once for each target
// clang-format off: only behind foreach_target.h
#include "kernels/tile_product-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace {

void TileProduct(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, Factor a, const void* b,
    int64_t b_row, bool add, void* c, int64_t c_row) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    const FactorOf<W> factor{static_cast<const W*>(a.data), a.row, a.column};
    ProductOfTile(
        m, n, k, static_cast<W>(alpha), factor, static_cast<const W*>(b), b_row, add,
        static_cast<W*>(c), c_row);
  });
}

void PackTransposed(Real type, const void* rows, int64_t row, int64_t n, int64_t k, void* packed) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    TransposeToPanels(static_cast<const W*>(rows), row, n, k, static_cast<W*>(packed));
  });
}

void RowProducts(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, const void* a, const void* rows,
    int64_t row, void* c, int64_t c_row) {
  WithWide(type, [&](auto wide) HWY_ATTR {
    using W = decltype(wide);
    ProductsOfRows(
        m, n, k, static_cast<W>(alpha), static_cast<const W*>(a), static_cast<const W*>(rows), row,
        static_cast<W*>(c), c_row);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace caffe2op_mask {
namespace {

HWY_EXPORT(TileProduct);
HWY_EXPORT(PackTransposed);
HWY_EXPORT(RowProducts);

}  // namespace

void TileProduct(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, Factor a, const void* b,
    int64_t b_row, bool add, void* c, int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(TileProduct)(type, m, n, k, alpha, a, b, b_row, add, c, c_row);
}

void PackTransposed(Real type, const void* rows, int64_t row, int64_t n, int64_t k, void* packed) {
  HWY_DYNAMIC_DISPATCH(PackTransposed)(type, rows, row, n, k, packed);
}

void PackedProduct(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, const void* a, const void* packed,
    void* c, int64_t c_row) {
  WithWide(type, [&](auto wide) {
    using W = decltype(wide);
    for (int64_t j = 0; j < n; j += kPanel) {
      TileProduct(
          type, m, kPanel, k, alpha, {a, k, 1}, static_cast<const W*>(packed) + j * k, kPanel,
          false, static_cast<W*>(c) + j, c_row);
    }
  });
}

void RowProducts(
    Real type, int64_t m, int64_t n, int64_t k, double alpha, const void* a, const void* rows,
    int64_t row, void* c, int64_t c_row) {
  HWY_DYNAMIC_DISPATCH(RowProducts)(type, m, n, k, alpha, a, rows, row, c, c_row);
}

}  // namespace caffe2op_mask
#endif  // HWY_ONCE
