#include "kernels/masked_softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/fill.h"
#include "tests/cpp/masked_softmax_testing.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/scores_testing.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/bytes.h"
#include "tests/reference/real.h"

namespace caffe2op_mask {
namespace {

class MaskedSoftmaxTest : public SoftmaxTesting, public ::testing::WithParamInterface<Real> {
 protected:
  MaskedSoftmaxTest() { type_ = GetParam(); }

  size_t width() const { return static_cast<size_t>(RealBytes(type_)); }

  // Elements that are all alike.
  Bytes Alike(int64_t count, double value) const {
    const Bytes one = reference::Encode(type_, {value});
    Bytes all;
    all.reserve(static_cast<size_t>(count) * width());
    for (int64_t i = 0; i < count; ++i) all.insert(all.end(), one.begin(), one.end());
    return all;
  }

  // So many that to draw each would take long.
  Bytes ManyReals(int64_t count) {
    const Bytes some = reference::Encode(type_, RandomReals(1 << 16, 3, Special::kNone));
    Bytes all(static_cast<size_t>(count) * width());
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      reference::CopyBytes(some, i * 7 % 65521 * width(), width(), &all, i * width());
    }
    return all;
  }

  const uint8_t* At(const Bytes& tensor, int64_t element) const {
    return tensor.data() + static_cast<size_t>(element) * width();
  }
  uint8_t* At(void* tensor, int64_t element) const {
    return static_cast<uint8_t*>(tensor) + static_cast<size_t>(element) * width();
  }
};

INSTANTIATE_TEST_SUITE_P(
    Types, MaskedSoftmaxTest, ::testing::ValuesIn(RealTypes()),
    [](const auto& test) { return std::string(NameOf(test.param)); });

TEST_P(MaskedSoftmaxTest, EveryCaseOfUpToFourDims) {
  for (int time = 0; time < 3000 && !HasFailure(); ++time) {
    SCOPED_TRACE(time);
    ExpectSoftmax(RandomDims());
  }
}

TEST_P(MaskedSoftmaxTest, RowsOfEveryLength) {
  for (const int64_t columns : Counts(random_)) {
    for (int time = 0; time < 8 && !HasFailure(); ++time) {
      SCOPED_TRACE(time);
      ExpectSoftmax(columns < 300 ? Dims{2, 3, columns} : Dims{2, columns});
    }
  }
}

TEST_P(MaskedSoftmaxTest, GradientOfEveryCaseOfUpToFourDims) {
  for (int time = 0; time < 3000 && !HasFailure(); ++time) {
    SCOPED_TRACE(time);
    ExpectGradient(RandomDims());
  }
}

TEST_P(MaskedSoftmaxTest, GradientOfRowsOfEveryLength) {
  for (const int64_t columns : Counts(random_)) {
    for (int time = 0; time < 8 && !HasFailure(); ++time) {
      SCOPED_TRACE(time);
      ExpectGradient(columns < 300 ? Dims{2, 3, columns} : Dims{2, columns});
    }
  }
}

// A row of one score `first` and of others, all alike, so that the exact result is known
// of any length.
TEST_P(MaskedSoftmaxTest, LongRowsAreAsNearAsShortOnes) {
  std::vector<int64_t> lengths{5000, 100000, 1000000};
  if (type_ == Real::kFloat32) lengths.insert(lengths.end(), {4000000, 16000000});
  // The last makes floats of 2^-25, of which sums from 1 lose each whole.
  for (const double other : {0.0, 3.0, -7.328679}) {
    for (const int64_t columns : lengths) {
      SCOPED_TRACE(::testing::Message() << columns << " scores, others " << other);
      Bytes x = Alike(columns, other);
      reference::CopyBytes(Alike(1, 10), 0, width(), &x, 0);
      const Scores scores{type_, 1, columns, x.data(), 1, nullptr, {}};
      Bytes y(x.size());
      PlainSoftmax(scores, ScoreMask{}, EmptyRow::kZero, y.data(), SerialFor);
      const long double e = std::exp(static_cast<long double>(Rounded(type_, {other})[0]) - 10);
      const long double sum = 1 + static_cast<long double>(columns - 1) * e;
      const Doubles first = reference::Decode(type_, y.data(), 2);
      for (const size_t i : {size_t{0}, size_t{1}}) {
        const long double exact = (i == 0 ? 1 : e) / sum;
        const long double tolerance =
            Ulps() * UlpAt(WideOf(type_), exact) + NarrowingError(type_, exact);
        const double value = first[i];
        ASSERT_LE(std::fabs(value - exact), tolerance)
            << value << " for " << static_cast<double>(exact) << " at " << i;
      }
      // Of one score, all that follow are one number.
      ASSERT_TRUE(std::equal(y.begin() + RealBytes(type_), y.end() - RealBytes(type_), At(y, 2)));
    }
  }
}

// The sum of y dy loses no more of a long row: here all of its products are alike.
TEST_P(MaskedSoftmaxTest, GradientOfLongRowsIsAsNear) {
  for (const int64_t columns : {int64_t{5000}, int64_t{1000000}, int64_t{4000000}}) {
    SCOPED_TRACE(columns);
    const Bytes y = Alike(columns, 1.3 / 4000000);
    const Bytes dy = Alike(columns, 0.7);
    Bytes dx(y.size());
    const Scores scores{type_, 1, columns, nullptr, 1, nullptr, {}};
    PlainGradient(scores, ScoreMask{}, y.data(), dy.data(), dx.data(), nullptr, SerialFor);
    const long double p = reference::Decode(type_, y.data(), 1)[0];
    const long double g = reference::Decode(type_, dy.data(), 1)[0];
    const long double dot = static_cast<long double>(columns) * p * g;
    const long double exact = p * (g - dot);
    // What the header says of the sum, and three roundings.
    const long double round = Ulp(WideOf(type_));
    const long double of_sum = type_ != Real::kFloat64 ? 0x1p-23L : 0x1p-41L;
    const long double tolerance = p * (dot * of_sum + 3 * round * (g + dot)) +
                                  round * std::fabs(exact) + NarrowingError(type_, exact);
    for (const double value : reference::Decode(type_, dx.data(), static_cast<size_t>(columns))) {
      ASSERT_LE(std::fabs(value - exact), tolerance)
          << value << " for " << static_cast<double>(exact);
    }
  }
}

// Threads share rows that are long and few. It changes no bit, and neither does it that
// a row stands among so many that each is one thread's.
TEST_P(MaskedSoftmaxTest, LongRowsAreTheSameWhoeverRunsThem) {
  constexpr int64_t kColumns = 70001;
  constexpr int64_t kMany = 20;
  Doubles drawn = RandomReals(kMany * kColumns, 3, Special::kInfinities);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  drawn[2 * kColumns + 9000] = drawn[4 * kColumns + 9000] = nan;
  const Bytes x = reference::Encode(type_, drawn);
  const Bytes dy = reference::Encode(type_, RandomReals(kMany * kColumns, 2, Special::kNone));
  Bytes keep = RandomMask(random_, kColumns, {0.9, true});
  keep[9000] = 1;
  std::vector<int64_t> lengths(kMany, kColumns);
  lengths[1] = 60001;
  lengths[2] = 0;
  lengths[3] = 5000;
  struct Result {
    Bytes y, dx, dbias, logs;
  };
  for (const int64_t bias_columns : {int64_t{1}, kColumns}) {
    const Bytes bias =
        reference::Encode(type_, RandomReals(kMany * bias_columns, 1, Special::kNone));
    const auto run = [&](int64_t first, int64_t rows, ParallelFor parallel_for) {
      const Dims dims{rows, kColumns};
      const Dims bias_dims{rows, bias_columns};
      const Dims mask_dims{kColumns};
      const Scores scores{
          type_,
          rows,
          kColumns,
          At(x, first * kColumns),
          1,
          At(bias, first * bias_columns),
          RowBroadcast(dims.data(), 2, bias_dims.data(), 2)};
      ScoreMask mask;
      mask.shape.Add(SequenceFunctor<int64_t>{lengths.data() + first, {}});
      mask.mask = reinterpret_cast<const bool*>(keep.data());
      mask.mask_rows = RowBroadcast(dims.data(), 2, mask_dims.data(), 1);
      const size_t count = static_cast<size_t>(rows * kColumns) * width();
      const size_t of_bias = static_cast<size_t>(rows * bias_columns) * width();
      Result result{Bytes(count), Bytes(count), Bytes(of_bias), Bytes(count)};
      PlainSoftmax(scores, mask, EmptyRow::kUniform, result.y.data(), parallel_for);
      MaskedSoftmax(
          scores, mask, EmptyRow::kUniform, SoftmaxForm::kLog, result.logs.data(), nullptr,
          parallel_for);
      PlainGradient(
          scores, mask, result.y.data(), At(dy, first * kColumns), result.dx.data(),
          result.dbias.data(), parallel_for);
      Bytes without_bias(count);
      PlainGradient(
          scores, mask, result.y.data(), At(dy, first * kColumns), without_bias.data(), nullptr,
          parallel_for);
      EXPECT_EQ(without_bias, result.dx);
      return result;
    };
    const Result many = run(0, kMany, ThreadedFor);
    // A NaN in one piece shows in all that the row keeps, and nothing of what is masked does.
    const Doubles of_nan = reference::Decode(type_, At(many.y, 4 * kColumns), kColumns);
    for (size_t j = 0; j < of_nan.size(); ++j) {
      ASSERT_EQ(std::isnan(of_nan[j]), keep[j] != 0) << j;
    }
    // Of what one run gave, that of some rows.
    const auto part = [](const Bytes& all, int64_t first, int64_t rows) {
      const auto row = static_cast<int64_t>(all.size()) / kMany;
      return Bytes(all.begin() + first * row, all.begin() + (first + rows) * row);
    };
    for (const int64_t rows : {1, 3}) {
      for (const int64_t first : {0, 1, 2, 3}) {
        SCOPED_TRACE(::testing::Message() << rows << " rows from " << first);
        for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
          const Result few = run(first, rows, parallel_for);
          EXPECT_EQ(few.y, part(many.y, first, rows));
          EXPECT_EQ(few.logs, part(many.logs, first, rows));
          EXPECT_EQ(few.dx, part(many.dx, first, rows));
          EXPECT_EQ(few.dbias, part(many.dbias, first, rows));
        }
      }
    }
  }
}

// Long rows that are streamed too, in pieces whose ends are no ends of lines.
TEST_P(MaskedSoftmaxTest, LongRowsAreStreamedAlike) {
  const int64_t columns = (int64_t{33} << 20) / RealBytes(type_) + 1;
  ASSERT_EQ(StoresFor(columns * RealBytes(type_)), Stores::kStreamed);
  const Bytes x = ManyReals(columns);
  const std::vector<int64_t> length{columns / 2 + 3};
  // The kept half alone is not streamed.
  const auto run = [&](int64_t of, ParallelFor parallel_for) {
    const Scores scores{type_, 1, of, x.data(), 1, nullptr, {}};
    ScoreMask mask;
    mask.shape.Add(SequenceFunctor<int64_t>{length.data(), {}});
    RealOutput y(type_, static_cast<size_t>(of), 1);
    RealOutput dx(type_, static_cast<size_t>(of), 1);
    PlainSoftmax(scores, mask, EmptyRow::kZero, y.data(), parallel_for);
    PlainGradient(scores, mask, y.data(), x.data(), dx.data(), nullptr, parallel_for);
    y.ExpectGuards();
    dx.ExpectGuards();
    Bytes both = y.bytes();
    both.resize(x.size());
    const Bytes gradient = dx.bytes();
    both.insert(both.end(), gradient.begin(), gradient.end());
    both.resize(2 * x.size());
    return both;
  };
  ASSERT_EQ(StoresFor(length[0] * RealBytes(type_)), Stores::kCached);
  const Bytes kept_alone = run(length[0], SerialFor);
  for (const ParallelFor parallel_for : {SerialFor, ThreadedFor}) {
    EXPECT_TRUE(run(columns, parallel_for) == kept_alone);
  }
}

// Sums of many rows are taken in parts, and those of one row at once; neither hangs on
// who takes them.
TEST_P(MaskedSoftmaxTest, BiasGradientIsTheSameWhoeverSums) {
  const Dims dims{3, 40, 17};
  for (const Dims& small : {Dims{}, Dims{17}, Dims{1, 40, 1}, Dims{3, 1, 17}, Dims{40, 17}, dims}) {
    SCOPED_TRACE(::testing::PrintToString(small));
    const Broadcast broadcast(dims, small);
    Scores scores{type_, 120, 17, nullptr, 1, nullptr, broadcast.rows};
    ScoreMask mask;
    mask.shape.Add(UpperFunctor{0, RowPosition(RowIndex{1, 40})});
    const RealInput y(type_, RandomReals(Size(dims), 1, Special::kNone));
    const RealInput dy(type_, RandomReals(Size(dims), 1, Special::kNone));
    std::vector<Bytes> results;
    for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ShuffledFor, ThreadedFor}) {
      RealOutput dx(type_, y.size());
      RealOutput dbias(type_, static_cast<size_t>(broadcast.size));
      PlainGradient(scores, mask, y.data(), dy.data(), dx.data(), dbias.data(), parallel_for);
      results.push_back(dbias.bytes());
      dbias.ExpectGuards();
    }
    for (const Bytes& result : results) EXPECT_EQ(result, results[0]);
  }
}

// As many indices as one call has shared out.
int64_t shared_out = 0;

void CountingFor(int64_t begin, int64_t end, int64_t grain, RangeBody body) {
  shared_out = std::max(shared_out, end - begin);
  SerialFor(begin, end, grain, body);
}

// However few entries the bias has: the pieces of one long row, and parts of many rows.
TEST_P(MaskedSoftmaxTest, BiasGradientIsSummedByMoreThanOneThread) {
  for (const Dims& dims : {Dims{1, 70001}, Dims{64, 300}}) {
    const Bytes y = Alike(Size(dims), 0);
    for (const Dims& small : {Dims{}, Dims{dims[1]}}) {
      const Broadcast bias(dims, small);
      const Scores scores{type_, dims[0], dims[1], nullptr, 1, nullptr, bias.rows};
      Bytes dx(y.size());
      Bytes dbias(static_cast<size_t>(bias.size) * width());
      shared_out = 0;
      PlainGradient(scores, ScoreMask{}, y.data(), y.data(), dx.data(), dbias.data(), CountingFor);
      EXPECT_GE(shared_out, 16) << ::testing::PrintToString(dims);
    }
  }
}

// Probabilities are powers of 2, and gradients 0: no byte of them is the sentinel.
TEST_P(MaskedSoftmaxTest, PiecesAreApart) {
  const Dims dims{40, 64};
  const auto count = static_cast<size_t>(Size(dims));
  const Bytes zeros(count * width());
  const std::vector<int32_t> lengths{0, 1, 64, 16, 32, 2};
  const Broadcast bias(dims, {40, 1});
  const Scores scores{type_, 40, 64, zeros.data(), 1, zeros.data(), bias.rows};
  ScoreMask mask;
  mask.shape.Add(SequenceFunctor<int32_t>{lengths.data(), {1, 6}});
  ExpectPiecesApart(count * width(), [&](ParallelFor parallel_for, uint8_t* out) {
    PlainSoftmax(scores, mask, EmptyRow::kUniform, out, parallel_for);
  });
  Bytes y(zeros.size());
  PlainSoftmax(scores, mask, EmptyRow::kZero, y.data(), SerialFor);
  const size_t all = count + static_cast<size_t>(bias.size);
  ExpectPiecesApart(all * width(), [&](ParallelFor parallel_for, uint8_t* out) {
    PlainGradient(scores, mask, y.data(), zeros.data(), out, out + count * width(), parallel_for);
  });
}

// What is so large that it is streamed has the bytes of its parts, which are not.
TEST_P(MaskedSoftmaxTest, LargeOutputsAreStreamedAlike) {
  constexpr int64_t kColumns = 4101;
  constexpr int64_t kRowsAtOnce = 90;
  const int64_t row_bytes = kColumns * RealBytes(type_);
  const int64_t rows = (int64_t{33} << 20) / row_bytes + 1;
  ASSERT_EQ(StoresFor(rows * row_bytes), Stores::kStreamed);
  ASSERT_EQ(StoresFor(kRowsAtOnce * row_bytes), Stores::kCached);
  const Bytes x = ManyReals(rows * kColumns);
  const Bytes bias = reference::Encode(type_, RandomReals(rows, 3, Special::kInfinities));
  const Bytes keep = RandomMask(random_, kColumns, {0.5, true});
  std::vector<int64_t> centers(static_cast<size_t>(rows));
  for (int64_t& center : centers) center = Uniform(random_, -700, kColumns + 700);
  // Rows [first, last), one after the other.
  const auto run = [&](int64_t first, int64_t last, void* y, void* dx, void* dbias) {
    const Dims dims{last - first, kColumns};
    const Dims bias_dims{last - first, 1};
    const Dims mask_dims{kColumns};
    Scores scores{
        type_,
        last - first,
        kColumns,
        At(x, first * kColumns),
        1,
        At(bias, first),
        RowBroadcast(dims.data(), 2, bias_dims.data(), 2)};
    ScoreMask mask;
    mask.shape.Add(WindowFunctor<int64_t>{centers.data() + first, 600, {}});
    mask.mask = reinterpret_cast<const bool*>(keep.data());
    mask.mask_rows = RowBroadcast(dims.data(), 2, mask_dims.data(), 1);
    void* const part = At(y, first * kColumns);
    PlainSoftmax(scores, mask, EmptyRow::kUniform, part, ShuffledFor);
    PlainGradient(
        scores, mask, part, scores.x, At(dx, first * kColumns), At(dbias, first), ShuffledFor);
  };
  RealOutput y(type_, static_cast<size_t>(rows * kColumns), 1);
  RealOutput dx(type_, y.size(), 1);
  RealOutput dbias(type_, static_cast<size_t>(rows), 1);
  run(0, rows, y.data(), dx.data(), dbias.data());
  Bytes y_of_parts(x.size());
  Bytes dx_of_parts(x.size());
  Bytes dbias_of_parts(bias.size());
  for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
    run(row, std::min(row + kRowsAtOnce, rows), y_of_parts.data(), dx_of_parts.data(),
        dbias_of_parts.data());
  }
  y.Expect(y_of_parts);
  dx.Expect(dx_of_parts);
  dbias.Expect(dbias_of_parts);
}

TEST_P(MaskedSoftmaxTest, NoRowsOrNoColumns) {
  for (const Dims& dims : {Dims{0, 5}, Dims{4, 0}, Dims{0, 0}, Dims{int64_t{1} << 60, 0}}) {
    const Dims small{1};
    RealOutput nothing(type_, 0);
    RealOutput dbias(type_, 1);
    const Scores scores{
        type_,
        dims[0],
        dims[1],
        nothing.data(),
        1,
        dbias.data(),
        RowBroadcast(dims.data(), 2, small.data(), 1)};
    PlainSoftmax(scores, ScoreMask{}, EmptyRow::kNaN, nothing.data(), ShuffledFor);
    PlainGradient(
        scores, ScoreMask{}, nothing.data(), nothing.data(), nothing.data(), dbias.data(),
        ShuffledFor);
    nothing.ExpectGuards();
    dbias.Expect(Alike(1, 0));
  }
}

}  // namespace
}  // namespace caffe2op_mask
