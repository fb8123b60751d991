#include "kernels/masked_softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/target.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/scores_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/functors.h"
#include "tests/reference/masked_fill.h"
#include "tests/reference/masked_softmax.h"
#include "tests/reference/real.h"

namespace caffe2op_mask {
namespace {

// Whether products and sums that are written as one are rounded as one.
bool HasFusedMultiplyAdd() {
  const std::string name = TargetName();
  return name != "SSE4" && name != "SSSE3";
}

template <typename T>
T LeastOf() {
  if constexpr (std::is_same<T, Float16>::value) return reference::Nearest<T>(-65504.0);
  if constexpr (std::is_same<T, BFloat16>::value) return reference::Nearest<T>(-0x1.fep127);
  if constexpr (sizeof(T) > 2) return std::numeric_limits<T>::lowest();
}

// The enum of an element type.
template <typename T>
constexpr Real RealOf() {
  if constexpr (std::is_same<T, Float16>::value) return Real::kFloat16;
  if constexpr (std::is_same<T, BFloat16>::value) return Real::kBFloat16;
  return std::is_same<T, float>::value ? Real::kFloat32 : Real::kFloat64;
}

enum class Special { kNone, kInfinities, kAny };

// What one call is given.
template <typename T>
struct Case {
  Dims dims;
  int64_t rows;
  int64_t columns;
  Shape shape;
  std::vector<Broadcast> mask_broadcast;  // one, or none where there is no mask
  Bytes mask;
  std::vector<Broadcast> bias_broadcast;
  std::vector<T> bias;
  std::vector<T> x;
  Wide<T> scale;
  EmptyRow empty_row;
  size_t slack;

  bool Keeps(int64_t row, int64_t column) const {
    const auto i = static_cast<size_t>(row * columns + column);
    return shape.Keeps(row, column) &&
           (mask_broadcast.empty() || mask[mask_broadcast[0].entries[i]] != 0);
  }

  // Which of a row is kept.
  std::vector<bool> Kept(int64_t row) const {
    std::vector<bool> kept(static_cast<size_t>(columns));
    for (size_t j = 0; j < kept.size(); ++j) kept[j] = Keeps(row, static_cast<int64_t>(j));
    return kept;
  }

  // Scores of a row, as they are defined: rounded to Wide<T>, once where the machine can.
  std::vector<long double> ScoresOf(int64_t row) const {
    const bool fused = HasFusedMultiplyAdd();
    std::vector<long double> scores;
    for (int64_t j = 0; j < columns; ++j) {
      const auto i = static_cast<size_t>(row * columns + j);
      const auto v = static_cast<Wide<T>>(reference::ValueOf(x[i]));
      const auto b = static_cast<Wide<T>>(
          bias_broadcast.empty() ? 0 : reference::ValueOf(bias[bias_broadcast[0].entries[i]]));
      const Wide<T> product = v * scale;
      scores.push_back(fused ? std::fma(v, scale, b) : product + b);
    }
    return scores;
  }

  Wide<T> EmptyValue() const {
    return empty_row == EmptyRow::kZero  ? 0
           : empty_row == EmptyRow::kNaN ? std::numeric_limits<Wide<T>>::quiet_NaN()
                                         : 1 / static_cast<Wide<T>>(columns);
  }
};

template <typename T>
long double Half(long double v) {
  return reference::Ulp<T>(v) / 2;
}

// Half an ulp of v where T is narrower than what is computed in.
template <typename T>
long double NarrowingError(long double v) {
  return std::is_same<T, Wide<T>>::value ? 0 : Half<T>(v);
}

template <typename T>
void PlainSoftmax(
    const Scores& scores, const ScoreMask& mask, EmptyRow empty_row, T* y,
    ParallelFor parallel_for) {
  MaskedSoftmax(scores, mask, empty_row, SoftmaxForm::kPlain, y, nullptr, parallel_for);
}

template <typename T>
void PlainGradient(
    const Scores& scores, const ScoreMask& mask, const T* y, const T* dy, T* dx, T* dbias,
    ParallelFor parallel_for) {
  MaskedSoftmaxGradient(
      scores, mask, SoftmaxOutputs{SoftmaxForm::kPlain, y, dy}, dx, dbias, parallel_for);
}

template <typename T>
class MaskedSoftmaxTest : public SeededTest {
 protected:
  using W = Wide<T>;

  bool OneIn(uint64_t n) { return caffe2op_mask::OneIn(random_, n); }

  std::vector<T> RandomReals(int64_t count, double spread, Special special) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    std::mt19937_64& random = random_.engine();
    const auto one_in = [&](uint64_t n) { return caffe2op_mask::OneIn(random, n); };
    std::normal_distribution<double> normal;
    std::vector<T> values(static_cast<size_t>(count));
    for (T& v : values) {
      double drawn = spread * normal(random);
      if (special != Special::kNone && one_in(7)) drawn = -kInfinity;
      if (special == Special::kAny && one_in(29)) {
        drawn = one_in(2) ? kInfinity : std::numeric_limits<double>::quiet_NaN();
      }
      v = reference::Nearest<T>(drawn);
    }
    return values;
  }

  Case<T> DrawCase(const Dims& dims) {
    Case<T> c;
    c.dims = dims;
    c.columns = dims.back();
    c.rows = Size(Dims(dims.begin(), dims.end() - 1));
    c.shape = DrawShape(random_, c.rows, std::max<int64_t>(c.rows, 1), c.columns);
    if (OneIn(2)) {
      const auto& broadcast = c.mask_broadcast.emplace_back(dims, DrawSmallDims(random_, dims));
      c.mask = RandomMask(random_, broadcast.size, Patterns()[random_() % Patterns().size()]);
    }
    constexpr Special kSpecials[] = {
        Special::kNone, Special::kNone, Special::kInfinities, Special::kAny};
    if (OneIn(2)) {
      const auto& broadcast = c.bias_broadcast.emplace_back(dims, DrawSmallDims(random_, dims));
      c.bias = RandomReals(broadcast.size, 3, kSpecials[random_() % 4]);
    }
    constexpr double kSpreads[] = {0, 1e-3, 1, 1, 30, 5000, 1e38};
    c.x = RandomReals(c.rows * c.columns, kSpreads[random_() % 7], kSpecials[random_() % 4]);
    constexpr double kScales[] = {1, 1, 0.125, 0.7, -1.3, 0};
    c.scale = static_cast<W>(kScales[random_() % 6]);
    c.empty_row = static_cast<EmptyRow>(random_() % 3);
    constexpr size_t kSlacks[] = {0, 0, 1, 5};
    c.slack = kSlacks[random_() % 4];
    return c;
  }

  // The memory of a case, and the arguments that lie in it.
  struct Inputs {
    explicit Inputs(const Case<T>& c)
        : x(c.x, c.slack), bias(c.bias, c.slack), mask_bytes(c.mask, c.slack) {
      scores = {RealOf<T>(), c.rows, c.columns, x.data(), c.scale, nullptr, {}};
      mask.shape = c.shape.functor;
      if (!c.mask_broadcast.empty()) {
        mask.mask = mask_bytes.mask();
        mask.mask_rows = c.mask_broadcast[0].rows;
      }
      if (!c.bias_broadcast.empty()) {
        scores.bias = bias.data();
        scores.bias_rows = c.bias_broadcast[0].rows;
      }
      bias.MakeReadOnly();
      mask_bytes.MakeReadOnly();
    }

    Guarded<T> x;
    Guarded<T> bias;
    GuardedBytes mask_bytes;
    Scores scores;
    ScoreMask mask;
  };

  // Ulps of Wide<T> that a probability may be off, as kernels/masked_softmax.h says.
  static long double Ulps() {
    return std::is_same<W, double>::value ? 8 : HasFusedMultiplyAdd() ? 2 : 3;
  }

  // Where masked 0 to the bit, else near the exact one; narrowing may add its share.
  static void ExpectProbabilities(const Case<T>& c, const std::vector<T>& y) {
    for (int64_t row = 0; row < c.rows; ++row) {
      const std::vector<long double> scores = c.ScoresOf(row);
      const std::vector<bool> kept = c.Kept(row);
      const bool empty = reference::IsEmptyRow(scores, kept);
      const std::vector<long double> exact = reference::SoftmaxRow(scores, kept, c.EmptyValue());
      for (size_t j = 0; j < exact.size(); ++j) {
        const T& got = y[static_cast<size_t>(row * c.columns) + j];
        const double value = reference::ValueOf(got);
        if (!kept[j] && !empty) {
          const T zero{};
          ASSERT_EQ(std::memcmp(&got, &zero, sizeof(T)), 0) << value << ", masked";
        } else if (std::isnan(exact[j])) {
          ASSERT_TRUE(std::isnan(value)) << value << " at row " << row << ", column " << j;
        } else {
          const long double tolerance =
              Ulps() * reference::Ulp<W>(exact[j]) + NarrowingError<T>(exact[j]);
          ASSERT_LE(std::fabs(value - exact[j]), tolerance)
              << value << " for " << static_cast<double>(exact[j]) << " at row " << row
              << ", column " << j << " of " << c.rows << " x " << c.columns;
        }
      }
    }
  }

  // Logarithms of the exact probabilities, -inf where masked, and of their sums.
  static void ExpectLogs(const Case<T>& c, const std::vector<T>& y, const std::vector<W>& lse) {
    constexpr bool kWide = std::is_same<W, double>::value;
    const auto expect = [](double value, long double exact, long double narrowing) {
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(value)) << value;
      } else if (std::isinf(exact)) {
        ASSERT_EQ(value, exact);
      } else {
        const long double wide = (kWide ? 8 : 2) * reference::Ulp<W>(exact);
        const long double tolerance = std::max(wide, kWide ? 0x1p-50L : 0x1p-24L) + narrowing;
        // What a type cannot hold is infinite.
        const auto least = static_cast<long double>(reference::ValueOf(LeastOf<T>()));
        if (std::isinf(value) && value < 0 && exact - tolerance <= least) return;
        ASSERT_LE(std::fabs(value - exact), tolerance) << value << " for " << exact;
      }
    };
    for (int64_t row = 0; row < c.rows; ++row) {
      SCOPED_TRACE(row);
      const std::vector<long double> scores = c.ScoresOf(row);
      const std::vector<bool> kept = c.Kept(row);
      const bool empty = reference::IsEmptyRow(scores, kept);
      const std::vector<long double> exact = reference::LogSoftmaxRow(
          scores, kept, std::log(static_cast<long double>(c.EmptyValue())));
      for (size_t j = 0; j < exact.size(); ++j) {
        const double value = reference::ValueOf(y[static_cast<size_t>(row * c.columns) + j]);
        ASSERT_NO_FATAL_FAILURE(expect(value, exact[j], NarrowingError<T>(exact[j]))) << j;
      }
      const long double sum = reference::LogSumExp(scores, kept);
      ASSERT_NO_FATAL_FAILURE(expect(double{lse[static_cast<size_t>(row)]}, sum, 0)) << empty;
    }
  }

  // Out of place and in place, to the same bytes.
  void ExpectSoftmax(const Dims& dims) {
    SCOPED_TRACE(::testing::PrintToString(dims));
    const Case<T> c = DrawCase(dims);
    for (const SoftmaxForm form : {SoftmaxForm::kPlain, SoftmaxForm::kLog}) {
      Inputs inputs(c);
      const ParallelFor parallel_for = RandomFor(random_, Size(dims));
      Guarded<T> y(c.x.size(), c.slack);
      Guarded<W> lse(static_cast<size_t>(c.rows), c.slack);
      MaskedSoftmax(
          inputs.scores, inputs.mask, c.empty_row, form, y.data(), lse.data(), parallel_for);
      y.ExpectGuards();
      lse.ExpectGuards();
      inputs.x.Expect(c.x);
      if (form == SoftmaxForm::kPlain) {
        ExpectProbabilities(c, y.values());
      } else {
        ExpectLogs(c, y.values(), lse.values());
      }
      MaskedSoftmax(
          inputs.scores, inputs.mask, c.empty_row, form, inputs.x.data(), nullptr, parallel_for);
      inputs.x.Expect(y.values());
    }
  }

  // Against long double, from the output that the kernel itself gave. What is masked,
  // and all of an empty row, is NaN in dy every other time.
  void ExpectGradient(const Dims& dims) {
    SCOPED_TRACE(::testing::PrintToString(dims));
    const Case<T> c = DrawCase(dims);
    Inputs inputs(c);
    inputs.x.MakeReadOnly();
    Guarded<T> y(c.x.size(), c.slack);
    const SoftmaxForm form = OneIn(2) ? SoftmaxForm::kLog : SoftmaxForm::kPlain;
    MaskedSoftmax(inputs.scores, inputs.mask, c.empty_row, form, y.data(), nullptr, SerialFor);
    y.MakeReadOnly();
    std::vector<T> dy_values = RandomReals(c.rows * c.columns, 2, Special::kNone);
    std::vector<W> d_lse_values(static_cast<size_t>(c.rows));
    const bool has_d_lse = OneIn(2);
    for (W& v : d_lse_values) v = has_d_lse ? static_cast<W>(Uniform(random_, -9, 9)) / 4 : 0;
    const bool poison = OneIn(2);
    const bool has_bias = !c.bias_broadcast.empty();
    const size_t bias_size = has_bias ? c.bias.size() : 0;
    std::vector<long double> expected;
    std::vector<long double> tolerances;
    std::vector<long double> bias_expected(bias_size);
    std::vector<long double> bias_tolerances(bias_size);
    for (int64_t row = 0; row < c.rows; ++row) {
      const std::vector<bool> kept = c.Kept(row);
      const bool empty = reference::IsEmptyRow(c.ScoresOf(row), kept);
      std::vector<long double> p_row;
      std::vector<long double> dy_row;
      for (size_t j = 0; j < kept.size(); ++j) {
        const size_t i = static_cast<size_t>(row * c.columns) + j;
        if (poison && (empty || !kept[j])) {
          dy_values[i] = reference::Nearest<T>(std::numeric_limits<double>::quiet_NaN());
        }
        const long double written = reference::ValueOf(y.data()[i]);
        p_row.push_back(form == SoftmaxForm::kLog ? std::exp(written) : written);
        dy_row.push_back(reference::ValueOf(dy_values[i]));
      }
      const auto d_lse_of_row = static_cast<long double>(d_lse_values[static_cast<size_t>(row)]);
      const bool log = form == SoftmaxForm::kLog;
      std::vector<long double> ds(kept.size(), 0);
      std::vector<long double> errors(kept.size(), 0);
      if (!empty) {
        ds = reference::SoftmaxGradientRow(p_row, dy_row, kept, log, d_lse_of_row);
        errors = GradientErrors(p_row, dy_row, kept, log, d_lse_of_row);
      }
      for (size_t j = 0; j < kept.size(); ++j) {
        expected.push_back(static_cast<long double>(c.scale) * ds[j]);
        tolerances.push_back(
            std::fabs(static_cast<long double>(c.scale)) * errors[j] + Half<W>(expected.back()) +
            NarrowingError<T>(expected.back()));
        if (!has_bias) continue;
        const size_t entry = c.bias_broadcast[0].entries[static_cast<size_t>(row * c.columns) + j];
        bias_expected[entry] += ds[j];
        // Sums are taken in double; each addition may lose half an ulp of what is there.
        bias_tolerances[entry] +=
            errors[j] + std::fabs(bias_expected[entry]) * std::numeric_limits<double>::epsilon();
      }
    }
    for (size_t i = 0; i < bias_size; ++i) {
      bias_tolerances[i] += Half<W>(bias_expected[i]) + NarrowingError<T>(bias_expected[i]);
    }
    // Without scores an empty row is one whose probabilities are 0.
    if (c.empty_row == EmptyRow::kZero && OneIn(2)) inputs.scores.x = nullptr;
    Guarded<T> dy(dy_values, c.slack);
    Guarded<W> d_lse(d_lse_values, c.slack);
    Guarded<T> dx(c.x.size(), c.slack);
    Guarded<T> dbias(bias_size, c.slack);
    T* const dbias_data = has_bias && !OneIn(4) ? dbias.data() : nullptr;
    const ParallelFor parallel_for = RandomFor(random_, Size(dims));
    const SoftmaxOutputs outputs{form, y.data(), dy.data(), has_d_lse ? d_lse.data() : nullptr};
    MaskedSoftmaxGradient(inputs.scores, inputs.mask, outputs, dx.data(), dbias_data, parallel_for);
    dx.ExpectGuards();
    dy.Expect(dy_values);
    ExpectNear(dx.values(), expected, tolerances);
    dbias.ExpectGuards();
    if (dbias_data != nullptr) ExpectNear(dbias.values(), bias_expected, bias_tolerances);
    const std::vector<T> dbias_values = dbias.values();
    MaskedSoftmaxGradient(inputs.scores, inputs.mask, outputs, dy.data(), dbias_data, parallel_for);
    dy.Expect(dx.values());
    dbias.Expect(dbias_values);
  }

  // Bounds on the error of p (dy - dot) or, of logarithms, dy - p dot, where p is taken from
  // its logarithm. What is summed is rounded and summed in at least 16 / sizeof(W) lanes, one
  // addition an entry; numbers below the normal ones lose no more than the least of them each
  // time.
  static std::vector<long double> GradientErrors(
      const std::vector<long double>& p, const std::vector<long double>& dy,
      const std::vector<bool>& kept, bool log, long double d_lse) {
    const long double round = std::numeric_limits<W>::epsilon() / 2.0L;
    const long double least = std::numeric_limits<W>::denorm_min();
    constexpr auto kLanes = static_cast<long double>(16 / sizeof(W));
    const auto count = static_cast<long double>(p.size());
    long double terms = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      if (kept[j]) terms += std::fabs(log ? dy[j] : p[j] * dy[j]);
    }
    long double dot_error = (count / kLanes + 8) * round * terms + count * least;
    if (d_lse != 0) {
      terms += std::fabs(d_lse);
      dot_error += round * terms;
    }
    std::vector<long double> errors(p.size(), 0);
    for (size_t j = 0; j < p.size(); ++j) {
      if (!kept[j]) continue;
      if (log) {
        errors[j] = std::fabs(p[j]) * (dot_error + 6 * round * terms) +
                    2 * round * std::fabs(dy[j]) + least * (1 + terms);
      } else {
        const long double difference = std::fabs(dy[j]) + terms;
        errors[j] = std::fabs(p[j]) * (dot_error + 3 * round * difference) + least;
      }
    }
    return errors;
  }

  static void ExpectNear(
      const std::vector<T>& got, const std::vector<long double>& expected,
      const std::vector<long double>& tolerances) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double value = reference::ValueOf(got[i]);
      if (std::isnan(expected[i])) {
        ASSERT_TRUE(std::isnan(value)) << value << " at " << i;
      } else {
        ASSERT_LE(std::fabs(value - expected[i]), tolerances[i])
            << value << " for " << static_cast<double>(expected[i]) << " at " << i;
      }
    }
  }

  Dims RandomDims() {
    Dims dims(1 + random_() % 4);
    for (int64_t& dim : dims) dim = Uniform(random_, 1, 5);
    if (OneIn(2)) dims.back() = Uniform(random_, 1, 40);
    return dims;
  }
};

using RealTypes = ::testing::Types<Float16, BFloat16, float, double>;
TYPED_TEST_SUITE(MaskedSoftmaxTest, RealTypes);

TYPED_TEST(MaskedSoftmaxTest, EveryCaseOfUpToFourDims) {
  for (int time = 0; time < 3000 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    this->ExpectSoftmax(this->RandomDims());
  }
}

TYPED_TEST(MaskedSoftmaxTest, RowsOfEveryLength) {
  for (const int64_t columns : Counts(this->random_)) {
    for (int time = 0; time < 8 && !this->HasFailure(); ++time) {
      SCOPED_TRACE(time);
      this->ExpectSoftmax(columns < 300 ? Dims{2, 3, columns} : Dims{2, columns});
    }
  }
}

TYPED_TEST(MaskedSoftmaxTest, GradientOfEveryCaseOfUpToFourDims) {
  for (int time = 0; time < 3000 && !this->HasFailure(); ++time) {
    SCOPED_TRACE(time);
    this->ExpectGradient(this->RandomDims());
  }
}

TYPED_TEST(MaskedSoftmaxTest, GradientOfRowsOfEveryLength) {
  for (const int64_t columns : Counts(this->random_)) {
    for (int time = 0; time < 8 && !this->HasFailure(); ++time) {
      SCOPED_TRACE(time);
      this->ExpectGradient(columns < 300 ? Dims{2, 3, columns} : Dims{2, columns});
    }
  }
}

// A row of one score `first` and of others, all alike, so that the exact result is known
// of any length.
TYPED_TEST(MaskedSoftmaxTest, LongRowsAreAsNearAsShortOnes) {
  using W = Wide<TypeParam>;
  std::vector<int64_t> lengths{5000, 100000, 1000000};
  if (std::is_same<TypeParam, float>::value) lengths.insert(lengths.end(), {4000000, 16000000});
  // The last makes floats of 2^-25, of which sums from 1 lose each whole.
  for (const double other : {0.0, 3.0, -7.328679}) {
    for (const int64_t columns : lengths) {
      SCOPED_TRACE(::testing::Message() << columns << " scores, others " << other);
      std::vector<TypeParam> x(static_cast<size_t>(columns), reference::Nearest<TypeParam>(other));
      x[0] = reference::Nearest<TypeParam>(10);
      const Scores scores{RealOf<TypeParam>(), 1, columns, x.data(), 1, nullptr, {}};
      std::vector<TypeParam> y(x.size());
      PlainSoftmax<TypeParam>(scores, ScoreMask{}, EmptyRow::kZero, y.data(), SerialFor);
      const long double e = std::exp(static_cast<long double>(reference::ValueOf(x[1])) - 10);
      const long double sum = 1 + static_cast<long double>(columns - 1) * e;
      for (const size_t i : {size_t{0}, size_t{1}}) {
        const long double exact = (i == 0 ? 1 : e) / sum;
        const long double tolerance =
            this->Ulps() * reference::Ulp<W>(exact) + NarrowingError<TypeParam>(exact);
        const double value = reference::ValueOf(y[i]);
        ASSERT_LE(std::fabs(value - exact), tolerance)
            << value << " for " << static_cast<double>(exact) << " at " << i;
      }
      // Of one score, all that follow are one number.
      const size_t bytes = (y.size() - 2) * sizeof(TypeParam);
      ASSERT_EQ(std::memcmp(y.data() + 1, y.data() + 2, bytes), 0);
    }
  }
}

// The sum of y dy loses no more of a long row: here all of its products are alike.
TYPED_TEST(MaskedSoftmaxTest, GradientOfLongRowsIsAsNear) {
  using W = Wide<TypeParam>;
  for (const int64_t columns : {int64_t{5000}, int64_t{1000000}, int64_t{4000000}}) {
    SCOPED_TRACE(columns);
    const auto count = static_cast<size_t>(columns);
    const std::vector<TypeParam> y(count, reference::Nearest<TypeParam>(1.3 / 4000000));
    const std::vector<TypeParam> dy(count, reference::Nearest<TypeParam>(0.7));
    std::vector<TypeParam> dx(count);
    const Scores scores{RealOf<TypeParam>(), 1, columns, nullptr, 1, nullptr, {}};
    PlainGradient<TypeParam>(
        scores, ScoreMask{}, y.data(), dy.data(), dx.data(), nullptr, SerialFor);
    const long double p = reference::ValueOf(y[0]);
    const long double g = reference::ValueOf(dy[0]);
    const long double dot = static_cast<long double>(columns) * p * g;
    const long double exact = p * (g - dot);
    // What the header says of the sum, and three roundings.
    const long double round = std::numeric_limits<W>::epsilon() / 2.0L;
    const long double of_sum = std::is_same<W, float>::value ? 0x1p-23L : 0x1p-41L;
    const long double tolerance = p * (dot * of_sum + 3 * round * (g + dot)) +
                                  round * std::fabs(exact) + NarrowingError<TypeParam>(exact);
    for (size_t i = 0; i < count; ++i) {
      const double value = reference::ValueOf(dx[i]);
      ASSERT_LE(std::fabs(value - exact), tolerance)
          << value << " for " << static_cast<double>(exact) << " at " << i;
    }
  }
}

// Threads share rows that are long and few. It changes no bit, and neither does it that
// a row stands among so many that each is one thread's.
TYPED_TEST(MaskedSoftmaxTest, LongRowsAreTheSameWhoeverRunsThem) {
  constexpr int64_t kColumns = 70001;
  constexpr int64_t kMany = 20;
  std::vector<TypeParam> x = this->RandomReals(kMany * kColumns, 3, Special::kInfinities);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  x[2 * kColumns + 9000] = x[4 * kColumns + 9000] = reference::Nearest<TypeParam>(nan);
  const std::vector<TypeParam> dy = this->RandomReals(kMany * kColumns, 2, Special::kNone);
  Bytes keep = RandomMask(this->random_, kColumns, {0.9, true});
  keep[9000] = 1;
  std::vector<int64_t> lengths(kMany, kColumns);
  lengths[1] = 60001;
  lengths[2] = 0;
  lengths[3] = 5000;
  struct Result {
    std::vector<TypeParam> y, dx, dbias, logs;
  };
  for (const int64_t bias_columns : {int64_t{1}, kColumns}) {
    const std::vector<TypeParam> bias = this->RandomReals(kMany * bias_columns, 1, Special::kNone);
    const auto run = [&](int64_t first, int64_t rows, ParallelFor parallel_for) {
      const Dims dims{rows, kColumns};
      const Dims bias_dims{rows, bias_columns};
      const Dims mask_dims{kColumns};
      const Scores scores{
          RealOf<TypeParam>(),
          rows,
          kColumns,
          x.data() + first * kColumns,
          1,
          bias.data() + first * bias_columns,
          RowBroadcast(dims.data(), 2, bias_dims.data(), 2)};
      ScoreMask mask;
      mask.shape.Add(SequenceFunctor<int64_t>{lengths.data() + first, {}});
      mask.mask = reinterpret_cast<const bool*>(keep.data());
      mask.mask_rows = RowBroadcast(dims.data(), 2, mask_dims.data(), 1);
      const auto count = static_cast<size_t>(rows * kColumns);
      Result result{
          std::vector<TypeParam>(count),
          std::vector<TypeParam>(count),
          std::vector<TypeParam>(static_cast<size_t>(rows * bias_columns)),
          {}};
      PlainSoftmax<TypeParam>(scores, mask, EmptyRow::kUniform, result.y.data(), parallel_for);
      result.logs.resize(count);
      MaskedSoftmax(
          scores, mask, EmptyRow::kUniform, SoftmaxForm::kLog, result.logs.data(), nullptr,
          parallel_for);
      PlainGradient<TypeParam>(
          scores, mask, result.y.data(), dy.data() + first * kColumns, result.dx.data(),
          result.dbias.data(), parallel_for);
      std::vector<TypeParam> without_bias(count);
      PlainGradient<TypeParam>(
          scores, mask, result.y.data(), dy.data() + first * kColumns, without_bias.data(), nullptr,
          parallel_for);
      EXPECT_EQ(ToBytes(without_bias), ToBytes(result.dx));
      return result;
    };
    const Result many = run(0, kMany, ThreadedFor);
    // A NaN in one piece shows in all that the row keeps, and nothing of what is masked does.
    for (int64_t j = 0; j < kColumns; ++j) {
      const double of_nan = reference::ValueOf(many.y[static_cast<size_t>(4 * kColumns + j)]);
      ASSERT_EQ(std::isnan(of_nan), keep[static_cast<size_t>(j)] != 0) << j;
    }
    // Of what one run gave, that of some rows.
    const auto part = [](const std::vector<TypeParam>& all, int64_t first, int64_t rows) {
      const auto columns = static_cast<int64_t>(all.size()) / kMany;
      return ToBytes(std::vector<TypeParam>(
          all.begin() + first * columns, all.begin() + (first + rows) * columns));
    };
    for (const int64_t rows : {1, 3}) {
      for (const int64_t first : {0, 1, 2, 3}) {
        SCOPED_TRACE(::testing::Message() << rows << " rows from " << first);
        for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ThreadedFor}) {
          const Result few = run(first, rows, parallel_for);
          EXPECT_EQ(ToBytes(few.y), part(many.y, first, rows));
          EXPECT_EQ(ToBytes(few.logs), part(many.logs, first, rows));
          EXPECT_EQ(ToBytes(few.dx), part(many.dx, first, rows));
          EXPECT_EQ(ToBytes(few.dbias), part(many.dbias, first, rows));
        }
      }
    }
  }
}

// Long rows that are streamed too, in pieces whose ends are no ends of lines.
TYPED_TEST(MaskedSoftmaxTest, LongRowsAreStreamedAlike) {
  const auto width = static_cast<int64_t>(sizeof(TypeParam));
  const int64_t columns = (int64_t{33} << 20) / width + 1;
  ASSERT_EQ(StoresFor(columns * width), Stores::kStreamed);
  const std::vector<TypeParam> some = this->RandomReals(1 << 16, 3, Special::kNone);
  std::vector<TypeParam> x(static_cast<size_t>(columns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = some[i * 7 % 65521];
  const std::vector<int64_t> length{columns / 2 + 3};
  // The kept half alone is not streamed.
  const auto run = [&](int64_t of, ParallelFor parallel_for) {
    const Scores scores{RealOf<TypeParam>(), 1, of, x.data(), 1, nullptr, {}};
    ScoreMask mask;
    mask.shape.Add(SequenceFunctor<int64_t>{length.data(), {}});
    Guarded<TypeParam> y(static_cast<size_t>(of), 1);
    Guarded<TypeParam> dx(static_cast<size_t>(of), 1);
    PlainSoftmax<TypeParam>(scores, mask, EmptyRow::kZero, y.data(), parallel_for);
    PlainGradient<TypeParam>(scores, mask, y.data(), x.data(), dx.data(), nullptr, parallel_for);
    y.ExpectGuards();
    dx.ExpectGuards();
    std::vector<TypeParam> both = y.values();
    both.resize(x.size());
    const std::vector<TypeParam> gradient = dx.values();
    both.insert(both.end(), gradient.begin(), gradient.end());
    both.resize(2 * x.size());
    return ToBytes(both);
  };
  ASSERT_EQ(StoresFor(length[0] * width), Stores::kCached);
  const Bytes kept_alone = run(length[0], SerialFor);
  for (const ParallelFor parallel_for : {SerialFor, ThreadedFor}) {
    EXPECT_TRUE(run(columns, parallel_for) == kept_alone);
  }
}

// Sums of many rows are taken in parts, and those of one row at once; neither hangs on
// who takes them.
TYPED_TEST(MaskedSoftmaxTest, BiasGradientIsTheSameWhoeverSums) {
  const Dims dims{3, 40, 17};
  for (const Dims& small : {Dims{}, Dims{17}, Dims{1, 40, 1}, Dims{3, 1, 17}, Dims{40, 17}, dims}) {
    SCOPED_TRACE(::testing::PrintToString(small));
    const Broadcast broadcast(dims, small);
    Scores scores{RealOf<TypeParam>(), 120, 17, nullptr, 1, nullptr, broadcast.rows};
    ScoreMask mask;
    mask.shape.Add(UpperFunctor{0, RowPosition(RowIndex{1, 40})});
    const std::vector<TypeParam> y = this->RandomReals(Size(dims), 1, Special::kNone);
    const std::vector<TypeParam> dy = this->RandomReals(Size(dims), 1, Special::kNone);
    std::vector<std::vector<TypeParam>> results;
    for (const ParallelFor parallel_for : {SerialFor, ShuffledFor, ShuffledFor, ThreadedFor}) {
      Guarded<TypeParam> dx(y.size());
      Guarded<TypeParam> dbias(static_cast<size_t>(broadcast.size));
      PlainGradient<TypeParam>(
          scores, mask, y.data(), dy.data(), dx.data(), dbias.data(), parallel_for);
      results.push_back(dbias.values());
      dbias.ExpectGuards();
    }
    for (const auto& result : results) EXPECT_EQ(ToBytes(result), ToBytes(results[0]));
  }
}

// Probabilities are powers of 2, and gradients 0: no byte of them is the sentinel.
TYPED_TEST(MaskedSoftmaxTest, PiecesAreApart) {
  const Dims dims{40, 64};
  const auto count = static_cast<size_t>(Size(dims));
  const std::vector<TypeParam> zeros(count);
  const std::vector<int32_t> lengths{0, 1, 64, 16, 32, 2};
  const Broadcast bias(dims, {40, 1});
  const Scores scores{RealOf<TypeParam>(), 40, 64, zeros.data(), 1, zeros.data(), bias.rows};
  ScoreMask mask;
  mask.shape.Add(SequenceFunctor<int32_t>{lengths.data(), {1, 6}});
  ExpectPiecesApart(count * sizeof(TypeParam), [&](ParallelFor parallel_for, uint8_t* out) {
    PlainSoftmax<TypeParam>(
        scores, mask, EmptyRow::kUniform, reinterpret_cast<TypeParam*>(out), parallel_for);
  });
  std::vector<TypeParam> y(count);
  PlainSoftmax<TypeParam>(scores, mask, EmptyRow::kZero, y.data(), SerialFor);
  const size_t all = count + static_cast<size_t>(bias.size);
  ExpectPiecesApart(all * sizeof(TypeParam), [&](ParallelFor parallel_for, uint8_t* out) {
    auto* const dx = reinterpret_cast<TypeParam*>(out);
    PlainGradient<TypeParam>(scores, mask, y.data(), zeros.data(), dx, dx + count, parallel_for);
  });
}

// What is so large that it is streamed has the bytes of its parts, which are not.
TYPED_TEST(MaskedSoftmaxTest, LargeOutputsAreStreamedAlike) {
  constexpr int64_t kColumns = 4101;
  constexpr int64_t kRowsAtOnce = 90;
  const auto width = static_cast<int64_t>(sizeof(TypeParam));
  const int64_t rows = (int64_t{33} << 20) / (kColumns * width) + 1;
  ASSERT_EQ(StoresFor(rows * kColumns * width), Stores::kStreamed);
  ASSERT_EQ(StoresFor(kRowsAtOnce * kColumns * width), Stores::kCached);
  const std::vector<TypeParam> some = this->RandomReals(1 << 16, 3, Special::kNone);
  std::vector<TypeParam> x(static_cast<size_t>(rows * kColumns));
  for (size_t i = 0; i < x.size(); ++i) x[i] = some[i * 7 % 65521];
  const std::vector<TypeParam> bias = this->RandomReals(rows, 3, Special::kInfinities);
  const Bytes keep = RandomMask(this->random_, kColumns, {0.5, true});
  std::vector<int64_t> centers(static_cast<size_t>(rows));
  for (int64_t& center : centers) center = Uniform(this->random_, -700, kColumns + 700);
  // Rows [first, last), one after the other.
  const auto run = [&](int64_t first, int64_t last, TypeParam* y, TypeParam* dx, TypeParam* dbias) {
    const Dims dims{last - first, kColumns};
    const Dims bias_dims{last - first, 1};
    const Dims mask_dims{kColumns};
    Scores scores{
        RealOf<TypeParam>(),
        last - first,
        kColumns,
        x.data() + first * kColumns,
        1,
        bias.data() + first,
        RowBroadcast(dims.data(), 2, bias_dims.data(), 2)};
    ScoreMask mask;
    mask.shape.Add(WindowFunctor<int64_t>{centers.data() + first, 600, {}});
    mask.mask = reinterpret_cast<const bool*>(keep.data());
    mask.mask_rows = RowBroadcast(dims.data(), 2, mask_dims.data(), 1);
    y += first * kColumns;
    PlainSoftmax<TypeParam>(scores, mask, EmptyRow::kUniform, y, ShuffledFor);
    PlainGradient<TypeParam>(
        scores, mask, y, x.data() + first * kColumns, dx + first * kColumns, dbias + first,
        ShuffledFor);
  };
  Guarded<TypeParam> y(x.size(), 1);
  Guarded<TypeParam> dx(x.size(), 1);
  Guarded<TypeParam> dbias(bias.size(), 1);
  run(0, rows, y.data(), dx.data(), dbias.data());
  std::vector<TypeParam> y_of_parts(x.size());
  std::vector<TypeParam> dx_of_parts(x.size());
  std::vector<TypeParam> dbias_of_parts(bias.size());
  for (int64_t row = 0; row < rows; row += kRowsAtOnce) {
    run(row, std::min(row + kRowsAtOnce, rows), y_of_parts.data(), dx_of_parts.data(),
        dbias_of_parts.data());
  }
  y.Expect(y_of_parts);
  dx.Expect(dx_of_parts);
  dbias.Expect(dbias_of_parts);
}

TYPED_TEST(MaskedSoftmaxTest, NoRowsOrNoColumns) {
  for (const Dims& dims : {Dims{0, 5}, Dims{4, 0}, Dims{0, 0}, Dims{int64_t{1} << 60, 0}}) {
    const Dims small{1};
    Guarded<TypeParam> nothing(0);
    Guarded<TypeParam> dbias(1);
    const Scores scores{
        RealOf<TypeParam>(),
        dims[0],
        dims[1],
        nothing.data(),
        1,
        dbias.data(),
        RowBroadcast(dims.data(), 2, small.data(), 1)};
    PlainSoftmax<TypeParam>(scores, ScoreMask{}, EmptyRow::kNaN, nothing.data(), ShuffledFor);
    PlainGradient<TypeParam>(
        scores, ScoreMask{}, nothing.data(), nothing.data(), nothing.data(), dbias.data(),
        ShuffledFor);
    nothing.ExpectGuards();
    dbias.Expect({TypeParam{}});
  }
}

}  // namespace
}  // namespace caffe2op_mask
