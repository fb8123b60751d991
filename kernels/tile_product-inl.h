// Per-target code of kernels/tile_product.h; see kernels/tile_product.cc.

#if defined(CAFFE2OP_MASK_KERNELS_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_TILE_PRODUCT_INL_H_
#undef CAFFE2OP_MASK_KERNELS_TILE_PRODUCT_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_TILE_PRODUCT_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/real-inl.h"
#include "kernels/tile_product.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A block of c that stays in registers while k runs: as many of them as there are,
// less those for a row of b and an entry of a.
#if HWY_TARGET <= HWY_AVX3
constexpr int64_t kBlockRows = 6;
constexpr int64_t kBlockVectors = 4;
#else
constexpr int64_t kBlockRows = 6;
constexpr int64_t kBlockVectors = 2;
#endif

// A factor with its entries by their type.
template <typename W>
struct FactorOf {
  const W* data;
  int64_t row;
  int64_t column;
};

// `last` lanes of the block's last vector exist.
template <int64_t kRows, int64_t kVectors, class D, typename W = hn::TFromD<D>>
HWY_INLINE void ProductBlock(
    D d, int64_t k, W alpha, FactorOf<W> a, const W* HWY_RESTRICT b, int64_t b_row, bool add,
    W* HWY_RESTRICT c, int64_t c_row, int64_t last) {
  const int64_t lanes = LanesOf(d);
  hn::VFromD<D> sums[size_t{kRows}][size_t{kVectors}];
#pragma GCC unroll 8
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 8
    for (int64_t j = 0; j < kVectors; ++j) sums[i][j] = hn::Zero(d);
  }
  const auto run = [&](auto load_last) HWY_ATTR {
    const W* HWY_RESTRICT a_k = a.data;
    const W* HWY_RESTRICT b_k = b;
    for (int64_t step = 0; step < k; ++step, a_k += a.column, b_k += b_row) {
      hn::VFromD<D> row[size_t{kVectors}];
#pragma GCC unroll 8
      for (int64_t j = 0; j + 1 < kVectors; ++j) row[j] = hn::LoadU(d, b_k + j * lanes);
      row[kVectors - 1] = load_last(b_k + (kVectors - 1) * lanes);
#pragma GCC unroll 8
      for (int64_t i = 0; i < kRows; ++i) {
        const auto factor = hn::Set(d, a_k[i * a.row]);
#pragma GCC unroll 8
        for (int64_t j = 0; j < kVectors; ++j) {
          sums[i][j] = hn::MulAdd(factor, row[j], sums[i][j]);
        }
      }
    }
  };
  if (last == lanes) {
    run([&](const W* from) HWY_ATTR { return hn::LoadU(d, from); });
  } else {
    run([&](const W* from) HWY_ATTR { return LoadPart(d, from, last); });
  }
  const auto factor = hn::Set(d, alpha);
#pragma GCC unroll 8
  for (int64_t i = 0; i < kRows; ++i) {
    W* const to = c + i * c_row;
#pragma GCC unroll 8
    for (int64_t j = 0; j < kVectors; ++j) {
      const int64_t count = j + 1 < kVectors ? lanes : last;
      auto sum = hn::Mul(sums[i][j], factor);
      if (add) sum = hn::Add(sum, LoadSome(d, to + j * lanes, count));
      StoreSome(d, sum, to + j * lanes, count);
    }
  }
}

// The block's rows at compile time.
template <int64_t kVectors, class D, typename W = hn::TFromD<D>>
HWY_INLINE void ProductRows(
    D d, int64_t rows, int64_t k, W alpha, FactorOf<W> a, const W* b, int64_t b_row, bool add, W* c,
    int64_t c_row, int64_t last) {
  static_assert(kBlockRows == 6, "a case for each count");
  switch (rows) {
    case 1: return ProductBlock<1, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    case 2: return ProductBlock<2, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    case 3: return ProductBlock<3, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    case 4: return ProductBlock<4, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    case 5: return ProductBlock<5, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    default: return ProductBlock<6, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
  }
}

// The same of up to three rows.
template <int64_t kVectors, class D, typename W = hn::TFromD<D>>
HWY_INLINE void ProductFewRows(
    D d, int64_t rows, int64_t k, W alpha, FactorOf<W> a, const W* b, int64_t b_row, bool add, W* c,
    int64_t c_row, int64_t last) {
  switch (rows) {
    case 1: return ProductBlock<1, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    case 2: return ProductBlock<2, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
    default: return ProductBlock<3, kVectors>(d, k, alpha, a, b, b_row, add, c, c_row, last);
  }
}

// Vectors of columns that m rows take at once. Each sum waits for its last addition: rows that are
// few take more columns, so that as many are under way.
HWY_INLINE int64_t VectorsAtOnce(int64_t m, int64_t vectors) {
  if (m == 1 && vectors >= 8) return 8;
  if (m <= 3 && vectors >= 4) return 4;
  return std::min(kBlockVectors, vectors);
}

template <typename W>
HWY_INLINE void ProductOfTile(
    int64_t m, int64_t n, int64_t k, W alpha, FactorOf<W> a, const W* b, int64_t b_row, bool add,
    W* c, int64_t c_row) {
  const hn::ScalableTag<W> d;
  const int64_t lanes = LanesOf(d);
  // Columns of b outside: what of b a block reads stays in the first-level cache.
  for (int64_t j = 0; j < n;) {
    const int64_t vectors = VectorsAtOnce(m, (n - j + lanes - 1) / lanes);
    const int64_t last = std::min(lanes, n - j - (vectors - 1) * lanes);
    for (int64_t i = 0; i < m; i += kBlockRows) {
      const int64_t rows = std::min(kBlockRows, m - i);
      const FactorOf<W> a_rows{a.data + i * a.row, a.row, a.column};
      const W* const b_block = b + j;
      W* const c_block = c + i * c_row + j;
      switch (vectors) {
        case 1:
          ProductRows<1>(d, rows, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
        case 2:
          ProductRows<2>(d, rows, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
#if HWY_TARGET <= HWY_AVX3
        case 3:
          ProductRows<3>(d, rows, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
        case 4:
          ProductRows<4>(d, rows, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
#else
        case 4:
          ProductFewRows<4>(d, rows, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
#endif
        default:
          ProductBlock<1, 8>(d, k, alpha, a_rows, b_block, b_row, add, c_block, c_row, last);
          break;
      }
    }
    j += vectors * lanes;
  }
}

// Transposes by squares of 16-byte blocks, which every target has.
template <typename W>
HWY_INLINE void TransposeToPanels(
    const W* HWY_RESTRICT rows, int64_t row, int64_t n, int64_t k, W* HWY_RESTRICT packed) {
  for (int64_t first = 0; first < n; first += kPanel, packed += kPanel * k) {
    const int64_t columns = std::min(kPanel, n - first);
    const W* const from = rows + first * row;
    int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
    const hn::Full128<W> d;
    constexpr int64_t kSide = 16 / sizeof(W);
    for (; j + kSide <= columns; j += kSide) {
      int64_t i = 0;
      for (; i + kSide <= k; i += kSide) {
        if constexpr (kSide == 4) {
          const hn::Full128<double> pairs;
          const auto r0 = hn::LoadU(d, from + j * row + i);
          const auto r1 = hn::LoadU(d, from + (j + 1) * row + i);
          const auto r2 = hn::LoadU(d, from + (j + 2) * row + i);
          const auto r3 = hn::LoadU(d, from + (j + 3) * row + i);
          const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
          const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
          const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
          const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
          W* const to = packed + i * kPanel + j;
          hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, to);
          hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, to + kPanel);
          hn::StoreU(
              hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, to + 2 * kPanel);
          hn::StoreU(
              hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, to + 3 * kPanel);
        } else {
          const auto r0 = hn::LoadU(d, from + j * row + i);
          const auto r1 = hn::LoadU(d, from + (j + 1) * row + i);
          W* const to = packed + i * kPanel + j;
          hn::StoreU(hn::InterleaveLower(d, r0, r1), d, to);
          hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, to + kPanel);
        }
      }
      for (; i < k; ++i) {
        for (int64_t side = 0; side < kSide; ++side) {
          packed[i * kPanel + j + side] = from[(j + side) * row + i];
        }
      }
    }
#endif
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t column = j; column < columns; ++column) {
        packed[i * kPanel + column] = from[column * row + i];
      }
      for (int64_t column = columns; column < kPanel; ++column) packed[i * kPanel + column] = 0;
    }
  }
}

// c[i, j] = alpha * (a[i] times row j), for kRows of the first and kKeys of the second.
template <int64_t kRows, int64_t kKeys, class D, typename W = hn::TFromD<D>>
HWY_INLINE void DotsOfBlock(
    D d, int64_t k, W alpha, const W* HWY_RESTRICT a, const W* HWY_RESTRICT rows, int64_t row,
    W* HWY_RESTRICT c, int64_t c_row) {
  hn::VFromD<D> sums[size_t{kRows}][size_t{kKeys}];
#pragma GCC unroll 4
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kKeys; ++j) sums[i][j] = hn::Zero(d);
  }
  const auto add = [&](int64_t x, const auto& load) HWY_ATTR {
    hn::VFromD<D> factors[size_t{kRows}];
#pragma GCC unroll 4
    for (int64_t i = 0; i < kRows; ++i) factors[i] = load(a + i * k + x);
#pragma GCC unroll 4
    for (int64_t j = 0; j < kKeys; ++j) {
      const auto of_key = load(rows + j * row + x);
#pragma GCC unroll 4
      for (int64_t i = 0; i < kRows; ++i) sums[i][j] = hn::MulAdd(factors[i], of_key, sums[i][j]);
    }
  };
  const int64_t lanes = LanesOf(d);
  int64_t x = 0;
  for (; x + lanes <= k; x += lanes) {
    add(x, [&](const W* from) HWY_ATTR { return hn::LoadU(d, from); });
  }
  if (x < k) add(x, [&](const W* from) HWY_ATTR { return LoadPart(d, from, k - x); });
#pragma GCC unroll 4
  for (int64_t i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int64_t j = 0; j < kKeys; ++j) {
      c[i * c_row + j] = alpha * hn::GetLane(hn::SumOfLanes(d, sums[i][j]));
    }
  }
}

// Four keys at once, whose sums do not wait for each other.
template <int64_t kRows, class D, typename W = hn::TFromD<D>>
HWY_INLINE void DotsOfKeys(
    D d, int64_t n, int64_t k, W alpha, const W* a, const W* rows, int64_t row, W* c,
    int64_t c_row) {
  constexpr int64_t kKeys = 4;
  int64_t j = 0;
  for (; j + kKeys <= n; j += kKeys) {
    DotsOfBlock<kRows, kKeys>(d, k, alpha, a, rows + j * row, row, c + j, c_row);
  }
  for (; j < n; ++j) DotsOfBlock<kRows, 1>(d, k, alpha, a, rows + j * row, row, c + j, c_row);
}

template <typename W>
HWY_INLINE void ProductsOfRows(
    int64_t m, int64_t n, int64_t k, W alpha, const W* a, const W* rows, int64_t row, W* c,
    int64_t c_row) {
  const hn::ScalableTag<W> d;
  // Sums of three rows and four keys are as many as registers hold beside what they are made of.
  constexpr int64_t kMostRows = 3;
  for (int64_t i = 0; i < m; i += kMostRows) {
    const W* const of_a = a + i * k;
    W* const of_c = c + i * c_row;
    switch (std::min(kMostRows, m - i)) {
      case 1: DotsOfKeys<1>(d, n, k, alpha, of_a, rows, row, of_c, c_row); break;
      case 2: DotsOfKeys<2>(d, n, k, alpha, of_a, rows, row, of_c, c_row); break;
      default: DotsOfKeys<3>(d, n, k, alpha, of_a, rows, row, of_c, c_row); break;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
