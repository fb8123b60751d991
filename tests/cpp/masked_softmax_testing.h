#pragma once

// Cases of masked softmax and of its gradient, as tests and a fuzzer draw them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kernels/masked_softmax.h"
#include "kernels/target.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/scores_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/masked_softmax.h"

namespace caffe2op_mask {

// Whether products and sums that are written as one are rounded as one.
inline bool HasFusedMultiplyAdd() {
  const std::string name = TargetName();
  return name != "SSE4" && name != "SSSE3";
}

enum class Special { kNone, kInfinities, kAny };

// What one call is given.
struct SoftmaxCase {
  Real type;
  Dims dims;
  int64_t rows;
  int64_t columns;
  Shape shape;
  std::vector<Broadcast> mask_broadcast;  // one, or none where there is no mask
  Bytes mask;
  std::vector<Broadcast> bias_broadcast;
  Doubles bias;
  Doubles x;
  double scale;
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
    return type == Real::kFloat64 ? ScoresIn<double>(row) : ScoresIn<float>(row);
  }

  template <typename W>
  std::vector<long double> ScoresIn(int64_t row) const {
    const bool fused = HasFusedMultiplyAdd();
    std::vector<long double> scores;
    for (int64_t j = 0; j < columns; ++j) {
      const auto i = static_cast<size_t>(row * columns + j);
      const auto v = static_cast<W>(x[i]);
      const auto b =
          static_cast<W>(bias_broadcast.empty() ? 0 : bias[bias_broadcast[0].entries[i]]);
      const auto factor = static_cast<W>(scale);
      const W product = v * factor;
      scores.push_back(fused ? std::fma(v, factor, b) : product + b);
    }
    return scores;
  }

  double EmptyValue() const {
    if (empty_row == EmptyRow::kZero) return 0;
    if (empty_row == EmptyRow::kNaN) return std::numeric_limits<double>::quiet_NaN();
    const double share = 1 / static_cast<double>(columns);
    return type == Real::kFloat64 ? share : double{static_cast<float>(share)};
  }
};

// Half an ulp of v where T is narrower than what is computed in.
inline long double NarrowingError(Real type, long double v) {
  return type == WideOf(type) ? 0 : UlpAt(type, v) / 2;
}

inline void PlainSoftmax(
    const Scores& scores, const ScoreMask& mask, EmptyRow empty_row, void* y,
    ParallelFor parallel_for) {
  MaskedSoftmax(scores, mask, empty_row, SoftmaxForm::kPlain, y, nullptr, parallel_for);
}

inline void PlainGradient(
    const Scores& scores, const ScoreMask& mask, const void* y, const void* dy, void* dx,
    void* dbias, ParallelFor parallel_for) {
  MaskedSoftmaxGradient(
      scores, mask, SoftmaxOutputs{SoftmaxForm::kPlain, y, dy}, dx, dbias, parallel_for);
}

// Draws calls of one element type and judges what comes of them.
class SoftmaxTesting : public SeededTest {
 protected:
  Real type_ = Real::kFloat32;

  bool OneIn(uint64_t n) { return caffe2op_mask::OneIn(random_, n); }

  Doubles RandomReals(int64_t count, double spread, Special special) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    std::mt19937_64& random = random_.engine();
    const auto one_in = [&](uint64_t n) { return caffe2op_mask::OneIn(random, n); };
    std::normal_distribution<double> normal;
    Doubles values(static_cast<size_t>(count));
    for (double& v : values) {
      double drawn = spread * normal(random);
      if (special != Special::kNone && one_in(7)) drawn = -kInfinity;
      if (special == Special::kAny && one_in(29)) {
        drawn = one_in(2) ? kInfinity : std::numeric_limits<double>::quiet_NaN();
      }
      v = drawn;
    }
    return Rounded(type_, values);
  }

  SoftmaxCase DrawCase(const Dims& dims) {
    SoftmaxCase c;
    c.type = type_;
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
    c.scale = kScales[random_() % 6];
    c.empty_row = static_cast<EmptyRow>(random_() % 3);
    constexpr size_t kSlacks[] = {0, 0, 1, 5};
    c.slack = kSlacks[random_() % 4];
    return c;
  }

  // The memory of a case, and the arguments that lie in it.
  struct Inputs {
    explicit Inputs(const SoftmaxCase& c)
        : x(c.type, c.x, c.slack), bias(c.type, c.bias, c.slack), mask_bytes(c.mask, c.slack) {
      scores = {c.type, c.rows, c.columns, x.data(), c.scale, nullptr, {}};
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

    RealTensor x;
    RealTensor bias;
    GuardedBytes mask_bytes;
    Scores scores;
    ScoreMask mask;
  };

  // Ulps of Wide<T> that a probability may be off, as kernels/masked_softmax.h says.
  long double Ulps() const { return type_ == Real::kFloat64 ? 8 : HasFusedMultiplyAdd() ? 2 : 3; }

  // Where masked 0 to the bit, else near the exact one; narrowing may add its share.
  void ExpectProbabilities(const SoftmaxCase& c, const Doubles& y) const {
    for (int64_t row = 0; row < c.rows; ++row) {
      const std::vector<long double> scores = c.ScoresOf(row);
      const std::vector<bool> kept = c.Kept(row);
      const bool empty = reference::IsEmptyRow(scores, kept);
      const std::vector<long double> exact = reference::SoftmaxRow(scores, kept, c.EmptyValue());
      for (size_t j = 0; j < exact.size(); ++j) {
        const double value = y[static_cast<size_t>(row * c.columns) + j];
        if (!kept[j] && !empty) {
          ASSERT_TRUE(value == 0 && !std::signbit(value)) << value << ", masked";
        } else if (std::isnan(exact[j])) {
          ASSERT_TRUE(std::isnan(value)) << value << " at row " << row << ", column " << j;
        } else {
          const long double tolerance =
              Ulps() * UlpAt(WideOf(type_), exact[j]) + NarrowingError(type_, exact[j]);
          ASSERT_LE(std::fabs(value - exact[j]), tolerance)
              << value << " for " << static_cast<double>(exact[j]) << " at row " << row
              << ", column " << j << " of " << c.rows << " x " << c.columns;
        }
      }
    }
  }

  // Logarithms of the exact probabilities, -inf where masked, and of their sums.
  void ExpectLogs(const SoftmaxCase& c, const Doubles& y, const Doubles& lse) const {
    const bool is_double = type_ == Real::kFloat64;
    // Of a type so narrow that it cannot hold every logarithm.
    const double least = type_ == Real::kFloat16    ? -65504
                         : type_ == Real::kBFloat16 ? -0x1.fep127
                         : is_double                ? std::numeric_limits<double>::lowest()
                                                    : std::numeric_limits<float>::lowest();
    const auto expect = [&](double value, long double exact, long double narrowing) {
      if (std::isnan(exact)) {
        ASSERT_TRUE(std::isnan(value)) << value;
      } else if (std::isinf(exact)) {
        ASSERT_EQ(value, exact);
      } else {
        const long double wide = (is_double ? 8 : 2) * UlpAt(WideOf(type_), exact);
        const long double tolerance = std::max(wide, is_double ? 0x1p-50L : 0x1p-24L) + narrowing;
        // What a type cannot hold is infinite.
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
        const double value = y[static_cast<size_t>(row * c.columns) + j];
        ASSERT_NO_FATAL_FAILURE(expect(value, exact[j], NarrowingError(type_, exact[j]))) << j;
      }
      const long double sum = reference::LogSumExp(scores, kept);
      ASSERT_NO_FATAL_FAILURE(expect(lse[static_cast<size_t>(row)], sum, 0)) << empty;
    }
  }

  // Out of place and in place, to the same bytes.
  void ExpectSoftmax(const Dims& dims) {
    SCOPED_TRACE(::testing::PrintToString(dims));
    const SoftmaxCase c = DrawCase(dims);
    for (const SoftmaxForm form : {SoftmaxForm::kPlain, SoftmaxForm::kLog}) {
      Inputs inputs(c);
      const ParallelFor parallel_for = RandomFor(random_, Size(dims));
      RealOutput y(type_, c.x.size(), c.slack);
      RealOutput lse(WideOf(type_), static_cast<size_t>(c.rows), c.slack);
      MaskedSoftmax(
          inputs.scores, inputs.mask, c.empty_row, form, y.data(), lse.data(), parallel_for);
      y.ExpectGuards();
      lse.ExpectGuards();
      inputs.x.Expect(reference::Encode(type_, c.x));
      if (form == SoftmaxForm::kPlain) {
        ExpectProbabilities(c, y.values());
      } else {
        ExpectLogs(c, y.values(), lse.values());
      }
      MaskedSoftmax(
          inputs.scores, inputs.mask, c.empty_row, form, inputs.x.data(), nullptr, parallel_for);
      inputs.x.Expect(y.bytes());
    }
  }

  // Against long double, from the output that the kernel itself gave. What is masked,
  // and all of an empty row, is NaN in dy every other time.
  void ExpectGradient(const Dims& dims) {
    SCOPED_TRACE(::testing::PrintToString(dims));
    const SoftmaxCase c = DrawCase(dims);
    Inputs inputs(c);
    inputs.x.MakeReadOnly();
    RealOutput y(type_, c.x.size(), c.slack);
    const SoftmaxForm form = OneIn(2) ? SoftmaxForm::kLog : SoftmaxForm::kPlain;
    MaskedSoftmax(inputs.scores, inputs.mask, c.empty_row, form, y.data(), nullptr, SerialFor);
    y.MakeReadOnly();
    const Doubles y_values = y.values();
    Doubles dy_values = RandomReals(c.rows * c.columns, 2, Special::kNone);
    Doubles d_lse_values(static_cast<size_t>(c.rows));
    const bool has_d_lse = OneIn(2);
    for (double& v : d_lse_values) {
      v = has_d_lse ? static_cast<double>(Uniform(random_, -9, 9)) / 4 : 0;
    }
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
          dy_values[i] = std::numeric_limits<double>::quiet_NaN();
        }
        const long double written = y_values[i];
        p_row.push_back(form == SoftmaxForm::kLog ? std::exp(written) : written);
        dy_row.push_back(dy_values[i]);
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
            std::fabs(static_cast<long double>(c.scale)) * errors[j] +
            UlpAt(WideOf(type_), expected.back()) / 2 + NarrowingError(type_, expected.back()));
        if (!has_bias) continue;
        const size_t entry = c.bias_broadcast[0].entries[static_cast<size_t>(row * c.columns) + j];
        bias_expected[entry] += ds[j];
        // Sums are taken in double; each addition may lose half an ulp of what is there.
        bias_tolerances[entry] +=
            errors[j] + std::fabs(bias_expected[entry]) * std::numeric_limits<double>::epsilon();
      }
    }
    for (size_t i = 0; i < bias_size; ++i) {
      bias_tolerances[i] +=
          UlpAt(WideOf(type_), bias_expected[i]) / 2 + NarrowingError(type_, bias_expected[i]);
    }
    // Without scores an empty row is one whose probabilities are 0.
    if (c.empty_row == EmptyRow::kZero && OneIn(2)) inputs.scores.x = nullptr;
    RealTensor dy(type_, dy_values, c.slack);
    const RealInput d_lse(WideOf(type_), d_lse_values, c.slack);
    RealOutput dx(type_, c.x.size(), c.slack);
    RealOutput dbias(type_, bias_size, c.slack);
    void* const dbias_data = has_bias && !OneIn(4) ? dbias.data() : nullptr;
    const ParallelFor parallel_for = RandomFor(random_, Size(dims));
    const SoftmaxOutputs outputs{form, y.data(), dy.data(), has_d_lse ? d_lse.data() : nullptr};
    MaskedSoftmaxGradient(inputs.scores, inputs.mask, outputs, dx.data(), dbias_data, parallel_for);
    dx.ExpectGuards();
    dy.Expect(reference::Encode(type_, dy_values));
    ExpectNear(dx.values(), expected, tolerances);
    dbias.ExpectGuards();
    if (dbias_data != nullptr) ExpectNear(dbias.values(), bias_expected, bias_tolerances);
    const Bytes dbias_bytes = dbias.bytes();
    MaskedSoftmaxGradient(inputs.scores, inputs.mask, outputs, dy.data(), dbias_data, parallel_for);
    dy.Expect(dx.bytes());
    dbias.Expect(dbias_bytes);
  }

  // Bounds on the error of p (dy - dot) or, of logarithms, dy - p dot, where p is taken from
  // its logarithm. What is summed is rounded and summed in at least 16 / sizeof(Wide<T>) lanes, one
  // addition an entry; numbers below the normal ones lose no more than the least of them each
  // time.
  std::vector<long double> GradientErrors(
      const std::vector<long double>& p, const std::vector<long double>& dy,
      const std::vector<bool>& kept, bool log, long double d_lse) const {
    const Real wide = WideOf(type_);
    const long double round = Ulp(wide);
    const long double least = UlpAt(wide, 0);
    const auto lanes = static_cast<long double>(16 / RealBytes(wide));
    const auto count = static_cast<long double>(p.size());
    long double terms = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      if (kept[j]) terms += std::fabs(log ? dy[j] : p[j] * dy[j]);
    }
    long double dot_error = (count / lanes + 8) * round * terms + count * least;
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
      const Doubles& got, const std::vector<long double>& expected,
      const std::vector<long double>& tolerances) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double value = got[i];
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

}  // namespace caffe2op_mask
