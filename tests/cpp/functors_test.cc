#include "kernels/functors.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <vector>

#include "tests/cpp/seeded_test.h"
#include "tests/reference/functors.h"

namespace caffe2op_mask {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin32 = std::numeric_limits<int32_t>::min();
constexpr int64_t kMax32 = std::numeric_limits<int32_t>::max();

// What users may feed as a length, a center, a padding or a diagonal.
const std::vector<int64_t> kNumbers{kMin, kMin + 1,   kMin32, -12,      -2,  -1, 0, 1, 2, 3, 5, 9,
                                    12,   kMax32 - 1, kMax32, kMax - 1, kMax};

// Columns of a row; of the widest only some are looked at.
const std::vector<int64_t> kColumns{0, 1, 2, 7, 12, kMax32, kMax};

using Keeps = std::function<bool(int64_t column)>;

// The interval is one of [0, columns), and holds just the columns that are kept.
void ExpectKept(Interval kept, int64_t columns, const Keeps& keeps) {
  EXPECT_LE(0, kept.begin);
  EXPECT_LE(kept.begin, kept.end);
  EXPECT_LE(kept.end, columns);
  std::vector<int64_t> probes;
  for (int64_t j = 0; j < 16; ++j) {
    for (const int64_t near : {j, columns - 1 - j, kept.begin - 1 + j % 2, kept.end - 1 + j % 2}) {
      if (near >= 0 && near < columns) probes.push_back(near);
    }
  }
  for (const int64_t j : probes) {
    EXPECT_EQ(kept.begin <= j && j < kept.end, keeps(j))
        << "column " << j << " of " << columns << ", kept [" << kept.begin << ", " << kept.end
        << ")";
  }
}

// The four triangles at one row and diagonal.
void ExpectTriangles(int64_t row, int64_t diagonal, int64_t columns) {
  SCOPED_TRACE(::testing::Message() << "row " << row << ", diagonal " << diagonal);
  ExpectKept(UpperFunctor{diagonal, {}}(row, columns), columns, [=](int64_t j) {
    return reference::UpperKeeps(row, diagonal, j);
  });
  ExpectKept(LowerFunctor{diagonal, {}}(row, columns), columns, [=](int64_t j) {
    return reference::LowerKeeps(row, diagonal, j);
  });
  ExpectKept(UpperDiagFunctor{diagonal, {}}(row, columns), columns, [=](int64_t j) {
    return reference::UpperDiagKeeps(row, diagonal, j);
  });
  ExpectKept(LowerDiagFunctor{diagonal, {}}(row, columns), columns, [=](int64_t j) {
    return reference::LowerDiagKeeps(row, diagonal, j);
  });
}

template <typename Index>
class IndexFunctorTest : public ::testing::Test {};
using IndexTypes = ::testing::Types<int32_t, int64_t>;
TYPED_TEST_SUITE(IndexFunctorTest, IndexTypes);

TYPED_TEST(IndexFunctorTest, Sequence) {
  for (const int64_t number : kNumbers) {
    const auto length = static_cast<TypeParam>(number);
    for (const int64_t columns : kColumns) {
      SCOPED_TRACE(::testing::Message() << "length " << length);
      ExpectKept(SequenceFunctor<TypeParam>{&length, {}}(0, columns), columns, [&](int64_t j) {
        return reference::SequenceKeeps(length, j);
      });
    }
  }
}

TYPED_TEST(IndexFunctorTest, Window) {
  for (const int64_t number : kNumbers) {
    const auto center = static_cast<TypeParam>(number);
    for (const int64_t radius : kNumbers) {
      if (radius < 0) continue;
      for (const int64_t columns : kColumns) {
        SCOPED_TRACE(::testing::Message() << "center " << center << ", radius " << radius);
        ExpectKept(
            WindowFunctor<TypeParam>{&center, radius, {}}(0, columns), columns,
            [&](int64_t j) { return reference::WindowKeeps(center, radius, j); });
      }
    }
  }
}

TYPED_TEST(IndexFunctorTest, LeftPad) {
  for (const int64_t number : kNumbers) {
    const auto left_pad = static_cast<TypeParam>(number);
    for (const int64_t columns : kColumns) {
      SCOPED_TRACE(::testing::Message() << "left_pad " << left_pad);
      ExpectKept(LeftPadFunctor<TypeParam>{&left_pad, {}}(0, columns), columns, [&](int64_t j) {
        return reference::LeftPadKeeps(left_pad, j);
      });
    }
  }
}

TEST(TriangleTest, EverySmallMatrix) {
  for (int64_t columns = 0; columns <= 9; ++columns) {
    for (int64_t row = 0; row < 12; ++row) {
      for (int64_t diagonal = -14; diagonal <= 14; ++diagonal) {
        ExpectTriangles(row, diagonal, columns);
      }
    }
  }
}

TEST(TriangleTest, AtTheLimitsOfInt64) {
  for (const int64_t diagonal : kNumbers) {
    for (const int64_t row : {int64_t{0}, int64_t{1}, int64_t{11}, kMax32, kMax - 1}) {
      for (const int64_t columns : kColumns) ExpectTriangles(row, diagonal, columns);
    }
  }
}

TEST(FunctorsTest, SaturatingAddHoldsAtTheLimits) {
  for (const int64_t a : kNumbers) {
    for (const int64_t b : kNumbers) {
      const reference::Wide sum = reference::Wide{a} + b;
      const int64_t held = sum < kMin ? kMin : sum > kMax ? kMax : static_cast<int64_t>(sum);
      EXPECT_EQ(SaturatingAdd(a, b), held) << a << " + " << b;
    }
  }
}

TEST(FunctorsTest, ClipStaysInside) {
  for (const int64_t begin : kNumbers) {
    for (const int64_t end : kNumbers) {
      for (const int64_t columns : kColumns) {
        SCOPED_TRACE(::testing::Message() << "[" << begin << ", " << end << ")");
        ExpectKept(
            Clip(begin, end, columns), columns, [&](int64_t j) { return begin <= j && j < end; });
      }
    }
  }
}

// Each entry repeated, and all of that over and over, spelled out.
TEST(RowIndexTest, RepeatsThenStartsOver) {
  for (int64_t repeat = 1; repeat <= 4; ++repeat) {
    for (int64_t period = 1; period <= 5; ++period) {
      const RowIndex index{repeat, period};
      int64_t row = 0;
      for (int time = 0; time < 3; ++time) {
        for (int64_t entry = 0; entry < period; ++entry) {
          for (int64_t i = 0; i < repeat; ++i) EXPECT_EQ(index(row++), entry);
        }
      }
    }
  }
  EXPECT_EQ(RowIndex{}(0), 0);
  EXPECT_EQ(RowIndex{}(kMax - 1), kMax - 1);
}

TEST(RowIndexTest, EveryFunctorGoesByIt) {
  const int32_t numbers[] = {3, 0, 5};
  const RowIndex index{2, 3};
  for (int64_t row = 0; row < 14; ++row) {
    const int64_t entry = row / 2 % 3;
    const int32_t number = numbers[entry];
    EXPECT_EQ((SequenceFunctor<int32_t>{numbers, index}(row, 8)), Clip(0, number, 8));
    EXPECT_EQ((WindowFunctor<int32_t>{numbers, 1, index}(row, 8)), Clip(number - 1, number + 2, 8));
    EXPECT_EQ((LeftPadFunctor<int32_t>{numbers, index}(row, 8)), Clip(number, 8, 8));
    EXPECT_EQ((UpperFunctor{1, index}(row, 8)), Clip(0, entry + 2, 8));
    EXPECT_EQ((LowerFunctor{1, index}(row, 8)), Clip(entry + 1, 8, 8));
    EXPECT_EQ((UpperDiagFunctor{1, index}(row, 8)), Clip(0, entry + 1, 8));
    EXPECT_EQ((LowerDiagFunctor{1, index}(row, 8)), Clip(entry + 2, 8, 8));
  }
}

// Each matrix of 5 rows, two of them on end by one shift, stands where its shift says.
TEST(RowPositionTest, TrianglesGoByIt) {
  for (const int64_t number : kNumbers) {
    const int64_t shifts[] = {0, number, -3};
    const RowIndex rows{1, 5};
    const RowIndex matrices{10, 3};
    const RowPosition position{rows, shifts, matrices};
    for (int64_t row = 0; row < 35; ++row) {
      const int64_t at = SaturatingAdd(row % 5, shifts[row / 10 % 3]);
      EXPECT_EQ(position(row), at);
      EXPECT_EQ(RowPosition(rows)(row), row % 5);
      for (const int64_t k : {-2, 0, 3}) {
        for (const int64_t columns : {int64_t{0}, int64_t{7}, kMax32}) {
          SCOPED_TRACE(
              ::testing::Message() << "row " << row << ", at " << at << ", diagonal " << k);
          ExpectKept(UpperFunctor{k, position}(row, columns), columns, [=](int64_t j) {
            return reference::UpperKeeps(at, k, j);
          });
          ExpectKept(LowerFunctor{k, position}(row, columns), columns, [=](int64_t j) {
            return reference::LowerKeeps(at, k, j);
          });
          ExpectKept(UpperDiagFunctor{k, position}(row, columns), columns, [=](int64_t j) {
            return reference::UpperDiagKeeps(at, k, j);
          });
          ExpectKept(LowerDiagFunctor{k, position}(row, columns), columns, [=](int64_t j) {
            return reference::LowerDiagKeeps(at, k, j);
          });
        }
      }
    }
  }
}

class IntersectionTest : public SeededTest {};

TEST_F(IntersectionTest, OfNothingKeepsEverything) {
  const IntersectionFunctor functor;
  EXPECT_EQ(functor.size(), 0U);
  EXPECT_EQ(functor(3, 7), (Interval{0, 7}));
  EXPECT_EQ(functor(3, 0), (Interval{0, 0}));
}

TEST_F(IntersectionTest, OfDisjointPartsKeepsNothing) {
  const int64_t length = 2;
  const int64_t center = 6;
  IntersectionFunctor functor;
  functor.Add(SequenceFunctor<int64_t>{&length, {}});
  functor.Add(WindowFunctor<int64_t>{&center, 1, {}});
  ExpectKept(functor(0, 9), 9, [](int64_t) { return false; });
}

TEST_F(IntersectionTest, KeepsWhatEveryPartKeeps) {
  struct Part {
    MaskFunctor functor;
    std::function<bool(int64_t row, int64_t column)> keeps;
  };
  const auto draw = [&] {
    return random_() % 4 == 0 ? kNumbers[random_() % kNumbers.size()] : Uniform(random_, -3, 12);
  };
  for (int time = 0; time < 3000; ++time) {
    const int64_t length = draw();
    const auto center = static_cast<int32_t>(draw());
    const int64_t left_pad = draw();
    const int64_t radius = Uniform(random_, 0, 6);
    const int64_t k = draw();
    const std::vector<Part> all{
        {SequenceFunctor<int64_t>{&length, {1, 1}},
         [&](int64_t, int64_t j) { return reference::SequenceKeeps(length, j); }},
        {WindowFunctor<int32_t>{&center, radius, {1, 1}},
         [&](int64_t, int64_t j) { return reference::WindowKeeps(center, radius, j); }},
        {LeftPadFunctor<int64_t>{&left_pad, {1, 1}},
         [&](int64_t, int64_t j) { return reference::LeftPadKeeps(left_pad, j); }},
        {UpperFunctor{k, {}}, [&](int64_t i, int64_t j) { return reference::UpperKeeps(i, k, j); }},
        {LowerFunctor{k, {}}, [&](int64_t i, int64_t j) { return reference::LowerKeeps(i, k, j); }},
        {UpperDiagFunctor{k, {}},
         [&](int64_t i, int64_t j) { return reference::UpperDiagKeeps(i, k, j); }},
        {LowerDiagFunctor{k, {}},
         [&](int64_t i, int64_t j) { return reference::LowerDiagKeeps(i, k, j); }},
    };
    IntersectionFunctor functor;
    std::vector<Part> parts;
    const uint64_t chosen = random_();
    for (size_t i = 0; i < all.size(); ++i) {
      if ((chosen >> i & 1) == 0) continue;
      functor.Add(all[i].functor);
      parts.push_back(all[i]);
      EXPECT_EQ(functor.part(functor.size() - 1).index(), all[i].functor.index());
    }
    EXPECT_EQ(functor.size(), parts.size());
    const int64_t row = Uniform(random_, 0, 9);
    const int64_t columns = Uniform(random_, 0, 10);
    ExpectKept(functor(row, columns), columns, [&](int64_t j) {
      return std::all_of(
          parts.begin(), parts.end(), [&](const Part& part) { return part.keeps(row, j); });
    });
    ASSERT_FALSE(HasFailure()) << "length " << length << ", center " << center << ", left_pad "
                               << left_pad << ", radius " << radius << ", diagonal " << k
                               << ", row " << row;
  }
}

}  // namespace
}  // namespace caffe2op_mask
