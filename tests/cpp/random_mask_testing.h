#pragma once

// Masks that are drawn, against numbers of the oracle by place.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/random_mask.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/gate.h"

namespace caffe2op_mask {

class RandomMaskKernelTest : public SeededTest {
 protected:
  RandomStream Stream() { return {static_cast<uint32_t>(random_()), random_()}; }

  // Runs draw(mask, parallel_for) twice, shared out differently; returns the mask.
  template <class Draw>
  std::vector<bool> Drawn(int64_t size, const Draw& draw) {
    GuardedBytes mask(static_cast<size_t>(size));
    draw(mask.as<bool>(), SerialFor);
    mask.ExpectGuards();
    GuardedBytes again(static_cast<size_t>(size));
    draw(again.as<bool>(), RandomFor(random_, size));
    again.Expect(Bytes(mask.data(), mask.data() + size));
    for (int64_t i = 0; i < size; ++i) EXPECT_LE(mask.data()[i], 1);
    return std::vector<bool>(mask.data(), mask.data() + size);
  }

  void ExpectElements(double p, int64_t size) {
    const RandomStream stream = Stream();
    const std::vector<bool> mask = Drawn(size, [&](bool* out, ParallelFor parallel_for) {
      RandomMaskElements(p, size, stream, out, parallel_for);
    });
    for (int64_t i = 0; i < size; ++i) {
      const double number = reference::NumberOf(stream.seed, stream.run, i);
      ASSERT_EQ(mask[static_cast<size_t>(i)], number >= p * 0x1p32) << i << " of " << size;
    }
  }

  // Of rows that are masked whole; returns how many are not.
  int64_t ExpectRows(double p, int64_t rows, int64_t columns) {
    const RandomStream stream = Stream();
    const std::vector<bool> mask = Drawn(rows * columns, [&](bool* out, ParallelFor parallel_for) {
      RandomMaskRows(p, rows, columns, stream, out, parallel_for);
    });
    int64_t kept = 0;
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = mask.begin() + row * columns;
      const auto trues = std::count(begin, begin + columns, true);
      EXPECT_TRUE(trues == 0 || trues == columns);
      kept += trues == columns ? 1 : 0;
    }
    return kept;
  }

  // With lengths and a least: as without, True behind the length, and more masked where there
  // was too little.
  void ExpectLimits(double p, int64_t span, int64_t least, int64_t rows, int64_t columns) {
    SCOPED_TRACE(
        ::testing::Message() << rows << " x " << columns << ", span " << span << ", p " << p
                             << ", least " << least);
    const RandomStream stream = Stream();
    std::vector<int64_t> lengths(static_cast<size_t>(rows));
    for (int64_t& length : lengths) length = Uniform(random_, -1, columns + 1);
    RowLimits limits;
    limits.real.Add(
        SequenceFunctor<int64_t>{lengths.data(), RowIndex{1, std::max<int64_t>(rows, 1)}});
    limits.least = least;
    const auto draw = [&](const RowLimits* to) {
      return Drawn(rows * columns, [&](bool* out, ParallelFor parallel_for) {
        if (span > 0) {
          RandomMaskSpans(
              p, span, rows, columns, stream, out, parallel_for, to == nullptr ? RowLimits() : *to);
          return;
        }
        RandomMaskElements(p, rows * columns, stream, out, parallel_for);
        if (to != nullptr) LimitElements(*to, rows, columns, stream, out, parallel_for);
      });
    };
    const std::vector<bool> without = draw(nullptr);
    const std::vector<bool> mask = draw(&limits);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t real = std::clamp<int64_t>(lengths[static_cast<size_t>(row)], 0, columns);
      int64_t masked = 0;
      int64_t before = 0;
      for (int64_t j = 0; j < columns; ++j) {
        const auto at = static_cast<size_t>(row * columns + j);
        masked += mask[at] ? 0 : 1;
        before += j >= real || without[at] ? 0 : 1;
        ASSERT_TRUE(j < real || mask[at]);
        ASSERT_FALSE(j < real && !without[at] && mask[at]);
      }
      // Spans begin at places of their own; of elements it is exact.
      const int64_t places = std::max<int64_t>(real - std::min(span, real + 1) + 1, 0);
      const int64_t enough = span > 0 ? std::min(least, places) : std::min(least, real);
      EXPECT_GE(masked, enough);
      EXPECT_TRUE(span > 0 || masked == std::max(before, enough));
      EXPECT_TRUE(least > 0 || masked == before);
    }
  }

  // What is masked is at least a span where no end of the row cuts it; returns how often
  // each column is masked.
  std::vector<double> ExpectSpans(double p, int64_t span, int64_t rows, int64_t columns) {
    SCOPED_TRACE(::testing::Message() << columns << " columns, span " << span << ", p " << p);
    const RandomStream stream = Stream();
    const std::vector<bool> mask = Drawn(rows * columns, [&](bool* out, ParallelFor parallel_for) {
      RandomMaskSpans(p, span, rows, columns, stream, out, parallel_for);
    });
    std::vector<double> masked(static_cast<size_t>(columns));
    for (int64_t row = 0; row < rows; ++row) {
      int64_t run = 0;
      for (int64_t j = 0; j < columns; ++j) {
        const bool keep = mask[static_cast<size_t>(row * columns + j)];
        if (!keep) {
          ++run;
          ++masked[static_cast<size_t>(j)];
        } else {
          EXPECT_TRUE(run == 0 || run == j || run >= span) << "row " << row << ", column " << j;
          run = 0;
        }
      }
    }
    return masked;
  }

  void ExpectBernoulli(Real type, int64_t size) {
    SCOPED_TRACE(::testing::Message() << NameOf(type) << ", " << size);
    Doubles z = RandomReals(random_, type, size, 6);
    for (double& value : z) value = random_() % 50 == 0 ? (value < 0 ? -1000 : 1000) : value;
    const Doubles d_log_prob = RandomReals(random_, type, size, 2);
    const RealInput z_in(type, z), d_in(type, d_log_prob);
    const RandomStream stream = Stream();
    RealOutput log_prob(type, z.size()), d_z(type, z.size(), 5);
    const std::vector<bool> mask = Drawn(size, [&](bool* out, ParallelFor parallel_for) {
      BernoulliMask(type, z_in.data(), size, stream, out, log_prob.data(), parallel_for);
    });
    Bytes drawn(mask.begin(), mask.end());
    for (uint8_t& byte : drawn)
      byte = byte != 0 ? static_cast<uint8_t>(Uniform(random_, 1, 255)) : byte;
    const GuardedBytes mask_in(drawn);
    BernoulliMaskGradient(
        type, z_in.data(), mask_in.mask(), d_in.data(), size, d_z.data(), RandomFor(random_, size));
    Doubles expected(z.size()), expected_d(z.size());
    for (size_t i = 0; i < z.size(); ++i) {
      const double u = reference::UnitOf(stream.seed, stream.run, static_cast<int64_t>(i));
      const double p = reference::Sigmoid(z[i]);
      if (std::fabs(u - p) > 1e-6) {
        ASSERT_EQ(mask[i], u < p);
      }
      const double s = mask[i] ? z[i] : -z[i];
      expected[i] = std::min(s, 0.0) - std::log1p(std::exp(-std::fabs(s)));
      expected_d[i] = d_log_prob[i] * (mask[i] ? reference::Sigmoid(-z[i]) : -p);
    }
    log_prob.ExpectNear("log_prob", expected, {});
    d_z.ExpectNear("d_z", expected_d, {});
  }
};

}  // namespace caffe2op_mask
