#include "kernels/tile_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/cpp/scores_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/reference/rounded.h"
#include "tests/reference/tile_product.h"

namespace caffe2op_mask {
namespace {

// Sizes of one product, and how its factors lie.
struct Sizes {
  int64_t m;
  int64_t n;
  int64_t k;
  bool transposed;    // a's columns are its rows in memory
  int64_t a_padding;  // entries between rows of memory, in none of which is a number
  int64_t b_padding;
  int64_t c_padding;

  int64_t a_row() const { return transposed ? 1 : k + a_padding; }
  int64_t a_column() const { return transposed ? m + a_padding : 1; }
  int64_t b_row() const { return n + b_padding; }
  int64_t c_row() const { return n + c_padding; }
};

std::ostream& operator<<(std::ostream& out, const Sizes& s) {
  return out << s.m << " x " << s.n << " x " << s.k << (s.transposed ? ", transposed" : "")
             << ", padding of " << s.a_padding << ", " << s.b_padding << ", " << s.c_padding;
}

template <typename W>
class TileProductTest : public SeededTest {
 protected:
  static constexpr Real kType = sizeof(W) == sizeof(double) ? Real::kFloat64 : Real::kFloat32;
  static constexpr W kNaN = std::numeric_limits<W>::quiet_NaN();

  // Rows with NaN between them and nothing behind the last.
  std::vector<W> Padded(int64_t rows, int64_t columns, int64_t row) {
    if (rows == 0 || columns == 0) return {};
    std::vector<W> matrix(static_cast<size_t>((rows - 1) * row + columns), kNaN);
    for (int64_t i = 0; i < rows; ++i) {
      const std::vector<W> drawn = RandomReals<W>(random_, columns, 1);
      std::copy(drawn.begin(), drawn.end(), matrix.begin() + i * row);
    }
    return matrix;
  }

  std::vector<W> FactorA(const Sizes& s) {
    return s.transposed ? Padded(s.k, s.m, s.a_column()) : Padded(s.m, s.k, s.a_row());
  }

  // An entry of each kind in 40 is not finite.
  void Poison(std::vector<W>* values) {
    constexpr W kSpecials[] = {kNaN, std::numeric_limits<W>::infinity()};
    for (W& v : *values) {
      if (OneIn(random_, 40)) v = kSpecials[random_() % 2];
    }
  }

  void ExpectProduct(const Sizes& s, bool poison) {
    SCOPED_TRACE(::testing::Message() << s);
    constexpr W kAlphas[] = {1, static_cast<W>(0.3), static_cast<W>(-2.5)};
    constexpr size_t kSlacks[] = {0, 0, 1, 3};
    const W alpha = kAlphas[random_() % 3];
    const bool add = OneIn(random_, 2);
    const size_t slack = kSlacks[random_() % 4];
    std::vector<W> a = FactorA(s);
    std::vector<W> b = Padded(s.k, s.n, s.b_row());
    std::vector<W> c = Padded(s.m, s.n, s.c_row());
    if (poison) Poison(&a);
    if (poison) Poison(&b);
    if (!add) std::fill(c.begin(), c.end(), kNaN);
    Guarded<W> a_memory(a, slack);
    Guarded<W> b_memory(b, slack);
    Guarded<W> c_memory(c, slack);
    a_memory.MakeReadOnly();
    b_memory.MakeReadOnly();
    TileProduct(
        kType, s.m, s.n, s.k, alpha, {a_memory.data(), s.a_row(), s.a_column()}, b_memory.data(),
        s.b_row(), add, c_memory.data(), s.c_row());
    c_memory.ExpectGuards();
    const std::vector<W> got = c_memory.values();
    std::vector<reference::Rounded<W>> expected;
    std::vector<W> entries;
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        const auto at = static_cast<size_t>(i * s.c_row() + j);
        const auto product =
            reference::ProductEntry(i, j, s.k, alpha, a, s.a_row(), s.a_column(), b, s.b_row());
        expected.push_back(add ? product + reference::Rounded<W>(c[at]) : product);
        entries.push_back(got[at]);
        c[at] = got[at];
      }
    }
    ExpectNear("c", entries, expected);
    c_memory.Expect(c);  // nothing between rows was written
  }
};

using WideTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(TileProductTest, WideTypes);

// Blocks are of 6 rows, and of up to 4 vectors of up to 16 columns.
TYPED_TEST(TileProductTest, SizesAroundBlocks) {
  for (const int64_t m : {0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 18}) {
    for (const int64_t n :
         {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70, 129}) {
      for (const int64_t k : {0, 1, 2, 3, 17}) {
        for (const bool transposed : {false, true}) {
          const auto padding = [&] { return OneIn(this->random_, 2) ? 0 : this->random_() % 20; };
          const Sizes sizes{
              m,
              n,
              k,
              transposed,
              static_cast<int64_t>(padding()),
              static_cast<int64_t>(padding()),
              static_cast<int64_t>(padding())};
          this->ExpectProduct(sizes, false);
          if (this->HasFailure()) return;
        }
      }
    }
  }
}

// Those of attention: p v, and p^T do over a tile's stride.
TYPED_TEST(TileProductTest, TilesOfAttention) {
  for (const int64_t depth : {1, 40, 64, 80, 128}) {
    this->ExpectProduct({64, depth, 256, false, 16, 0, 0}, false);
    this->ExpectProduct({256, depth, 64, true, 16, 0, 0}, false);
  }
}

// Of a row or a column that is not finite, and nowhere else.
TYPED_TEST(TileProductTest, WhatIsNotFiniteStaysInItsRowsAndColumns) {
  for (int time = 0; time < 300 && !this->HasFailure(); ++time) {
    const Sizes sizes{Uniform(this->random_, 1, 20), Uniform(this->random_, 1, 70),
                      Uniform(this->random_, 1, 9),  OneIn(this->random_, 2),
                      Uniform(this->random_, 0, 3),  Uniform(this->random_, 0, 3),
                      Uniform(this->random_, 0, 3)};
    this->ExpectProduct(sizes, true);
  }
}

// An entry has the same bits wherever in a product it stands. By that it does not
// matter to attention how its scores are cut into tiles.
TYPED_TEST(TileProductTest, EntriesDoNotDependOnTheirPlace) {
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{13, 131, 40}, {7, 21, 5}}) {
    const std::vector<TypeParam> a = RandomReals<TypeParam>(this->random_, m * k, 1);
    const std::vector<TypeParam> rows = RandomReals<TypeParam>(this->random_, n * k, 1);
    std::vector<TypeParam> b(rows.size());
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t x = 0; x < k; ++x) {
        b[static_cast<size_t>(x * n + j)] = rows[static_cast<size_t>(j * k + x)];
      }
    }
    const auto count = static_cast<size_t>(m * n);
    std::vector<TypeParam> whole(count);
    TileProduct(this->kType, m, n, k, 2, {a.data(), k, 1}, b.data(), n, false, whole.data(), n);
    std::vector<TypeParam> one_by_one(count);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        TileProduct(
            this->kType, 1, 1, k, 2, {a.data() + i * k, k, 1}, b.data() + j, n, false,
            one_by_one.data() + i * n + j, 1);
      }
    }
    EXPECT_EQ(ToBytes(whole), ToBytes(one_by_one));
    std::vector<TypeParam> packed(static_cast<size_t>(PackedSize(n, k)));
    PackTransposed(this->kType, rows.data(), k, n, k, packed.data());
    const int64_t c_row = (n + kPanel - 1) / kPanel * kPanel;
    std::vector<TypeParam> c(static_cast<size_t>(m * c_row));
    PackedProduct(this->kType, m, n, k, 2, a.data(), packed.data(), c.data(), c_row);
    for (int64_t i = 0; i < m; ++i) {
      const std::vector<TypeParam> row(c.begin() + i * c_row, c.begin() + i * c_row + n);
      const std::vector<TypeParam> wanted(whole.begin() + i * n, whole.begin() + (i + 1) * n);
      EXPECT_EQ(ToBytes(row), ToBytes(wanted)) << "row " << i;
    }
  }
}

TYPED_TEST(TileProductTest, PanelsAreTransposedAndPaddedWithZeros) {
  for (const int64_t n : {0, 1, 2, 3, 4, 5, 62, 63, 64, 65, 66, 127, 128, 130}) {
    for (const int64_t k : {0, 1, 2, 3, 4, 5, 7, 16, 33}) {
      for (const size_t slack : {0U, 1U, 3U}) {
        SCOPED_TRACE(::testing::Message() << n << " rows of " << k << ", slack " << slack);
        const int64_t row = k + Uniform(this->random_, 0, 1) * Uniform(this->random_, 1, 9);
        const std::vector<TypeParam> rows = this->Padded(n, k, row);
        Guarded<TypeParam> rows_memory(rows, slack);
        rows_memory.MakeReadOnly();
        const auto size = static_cast<size_t>(PackedSize(n, k));
        Guarded<TypeParam> packed(size, slack);
        PackTransposed(this->kType, rows_memory.data(), row, n, k, packed.data());
        std::vector<TypeParam> expected(size);
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t x = 0; x < k; ++x) {
            const int64_t to = j / kPanel * kPanel * k + x * kPanel + j % kPanel;
            expected[static_cast<size_t>(to)] = rows[static_cast<size_t>(j * row + x)];
          }
        }
        packed.Expect(expected);
      }
    }
  }
}

// Both ways to a tile of scores: whole panels of a row are written by the one, what
// there is by the other.
TYPED_TEST(TileProductTest, ProductsWithRows) {
  using W = TypeParam;
  for (const int64_t m : {0, 1, 3, 6, 7}) {
    for (const int64_t n : {0, 1, 5, 63, 64, 65, 130}) {
      for (const int64_t k : {0, 1, 3, 4, 8, 15, 16, 17, 40}) {
        SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k);
        const size_t slack = this->random_() % 2;
        const std::vector<W> a = RandomReals<W>(this->random_, m * k, 1);
        const int64_t row = k + Uniform(this->random_, 0, 1) * Uniform(this->random_, 1, 9);
        std::vector<W> rows = this->Padded(n, k, row);
        if (!rows.empty() && OneIn(this->random_, 2))
          rows[this->random_() % rows.size()] = this->kNaN;
        constexpr auto alpha = static_cast<W>(0.7);
        std::vector<reference::Rounded<W>> expected;
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            expected.push_back(reference::ProductEntry(i, j, k, alpha, a, k, 1, rows, 1, row));
          }
        }
        Guarded<W> a_memory(a, slack);
        Guarded<W> rows_memory(rows, slack);
        a_memory.MakeReadOnly();
        rows_memory.MakeReadOnly();
        // With rows of c that are longer than what is written of them.
        const int64_t panels = (n + kPanel - 1) / kPanel * kPanel;
        for (const bool pack : {false, true}) {
          const int64_t written = pack ? panels : n;
          const int64_t c_row = written + 5;
          const int64_t c_size = m == 0 || n == 0 ? 0 : (m - 1) * c_row + written;
          Guarded<W> c_memory(static_cast<size_t>(c_size), slack);
          std::vector<W> c = c_memory.values();
          if (pack) {
            Guarded<W> packed(static_cast<size_t>(PackedSize(n, k)), slack);
            PackTransposed(this->kType, rows_memory.data(), row, n, k, packed.data());
            packed.MakeReadOnly();
            PackedProduct(
                this->kType, m, n, k, alpha, a_memory.data(), packed.data(), c_memory.data(),
                c_row);
          } else {
            RowProducts(
                this->kType, m, n, k, alpha, a_memory.data(), rows_memory.data(), row,
                c_memory.data(), c_row);
          }
          c_memory.ExpectGuards();
          const std::vector<W> got = c_memory.values();
          std::vector<W> entries;
          for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = 0; n > 0 && j < written; ++j) {
              const auto at = static_cast<size_t>(i * c_row + j);
              if (j < n) entries.push_back(got[at]);
              c[at] = j < n ? got[at] : 0;
            }
          }
          ExpectNear(pack ? "packed" : "by rows", entries, expected);
          c_memory.Expect(c);
          if (this->HasFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace caffe2op_mask
