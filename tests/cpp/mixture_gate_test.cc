#include "kernels/mixture_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/cpp/real_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/mixture_gate.h"

namespace caffe2op_mask {
namespace {

class MixtureGateKernelTest : public SeededTest {
 protected:
  struct Outputs {
    Outputs(Real type, const MixtureTensors& tensors)
        : y(type, static_cast<size_t>(tensors.rows * tensors.columns), 7),
          g(type, static_cast<size_t>(tensors.rows * tensors.experts)),
          d_e(type, static_cast<size_t>(tensors.rows * tensors.experts * tensors.columns), 3),
          d_z(type, static_cast<size_t>(tensors.rows * tensors.experts)) {}

    RealOutput y, g, d_e, d_z;
  };

  static void Run(
      const MixtureTensors& tensors, const void* d_y, const void* d_g, Outputs* out,
      ParallelFor parallel_for) {
    MixtureGate(tensors, out->y.data(), out->g.data(), parallel_for);
    MixtureGateGradient(tensors, d_y, d_g, out->d_e.data(), out->d_z.data(), parallel_for);
  }

  void Expect(Real type, int64_t rows, int64_t experts, int64_t columns, int64_t top_k) {
    const bool has_d_y = random_() % 4 != 0;
    const bool has_d_g = !has_d_y || random_() % 2 == 0;
    const bool renormalize = random_() % 2 == 0;
    const bool has_bias = random_() % 2 == 0;
    SCOPED_TRACE(
        ::testing::Message() << NameOf(type) << " [" << rows << ", " << experts << ", " << columns
                             << "], top " << top_k << ", d_y " << has_d_y << ", d_g " << has_d_g
                             << ", renormalize " << renormalize << ", bias " << has_bias);
    const Doubles e = RandomReals(random_, type, rows * experts * columns, 3);
    Doubles z = RandomReals(random_, type, rows * experts, 2);
    // Equal ones, so that the first of them must be taken.
    for (double& value : z) value = random_() % 3 == 0 ? 0.5 : value;
    // Unless it could be all that is kept, and divided by 0.
    if (z.size() > 2 && !(renormalize && has_bias)) z[1] = -std::numeric_limits<double>::infinity();
    // Biases so far apart that no softmax comes between them, in some order.
    Doubles bias(has_bias ? static_cast<size_t>(experts) : 0);
    for (size_t k = 0; k < bias.size(); ++k) bias[k] = 2.0 * static_cast<double>(k);
    std::shuffle(bias.begin(), bias.end(), random_);
    const Doubles d_y = RandomReals(random_, type, has_d_y ? rows * columns : 0, 2);
    const Doubles d_g = RandomReals(random_, type, has_d_g ? rows * experts : 0, 2);
    const RealInput e_in(type, e), z_in(type, z), d_y_in(type, d_y), d_g_in(type, d_g);
    const RealInput bias_in(type == Real::kFloat64 ? type : Real::kFloat32, bias);
    MixtureTensors tensors{type, rows, experts, columns, e_in.data(), z_in.data(), top_k};
    tensors.renormalize = renormalize;
    tensors.bias = has_bias ? bias_in.data() : nullptr;
    Outputs out(type, tensors);
    const void* const d_y_data = has_d_y ? d_y_in.data() : nullptr;
    const void* const d_g_data = has_d_g ? d_g_in.data() : nullptr;
    Run(tensors, d_y_data, d_g_data, &out, SerialFor);
    const reference::MixtureResult expected = reference::MixtureGate(
        e, z, rows, experts, columns, top_k, renormalize, bias,
        has_d_y ? d_y : Doubles(static_cast<size_t>(rows * columns)), d_g);
    out.y.ExpectNear("y", expected.y, expected.y_scale, 64);
    out.g.ExpectNear("g", expected.g, {}, 64);
    out.d_e.ExpectNear("d_e", expected.d_e, {}, 64);
    out.d_z.ExpectNear("d_z", expected.d_z, expected.d_z_scale, 64);
    Outputs again(type, tensors);
    Run(tensors, d_y_data, d_g_data, &again, RandomFor(random_, rows * columns * experts));
    EXPECT_EQ(again.y.bytes(), out.y.bytes());
    EXPECT_EQ(again.g.bytes(), out.g.bytes());
    EXPECT_EQ(again.d_e.bytes(), out.d_e.bytes());
    EXPECT_EQ(again.d_z.bytes(), out.d_z.bytes());
  }
};

TEST_F(MixtureGateKernelTest, MixesAndDifferentiates) {
  for (const Real type : RealTypes()) {
    for (const int64_t experts : {2, 3, 8, 17, 600}) {
      for (const int64_t columns : {0, 1, 5, 16, 512, 1030}) {
        if (experts * columns > 20000) continue;
        for (const int64_t rows : {0, 1, 3, 10}) {
          for (const int64_t top_k : {int64_t{1}, (experts + 1) / 2, experts}) {
            Expect(type, rows, experts, columns, top_k);
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

// Experts that are not chosen lie in memory that must not be read, as it were.
TEST_F(MixtureGateKernelTest, WhatWeighsNothingIsNotRead) {
  const double nan = std::nan("");
  for (const Real type : RealTypes()) {
    for (const int64_t top_k : {1, 3}) {
      const double inf = std::numeric_limits<double>::infinity();
      const RealInput e(type, {nan, inf, 1, 2, nan, nan});
      const RealInput z(type, {-inf, 1, top_k == 1 ? 0.5 : -inf}), d_y(type, {1, 1});
      const MixtureTensors tensors{type, 1, 3, 2, e.data(), z.data(), top_k};
      Outputs out(type, tensors);
      Run(tensors, d_y.data(), nullptr, &out, SerialFor);
      const double weight = out.g.values()[1];
      EXPECT_EQ(out.y.values(), Rounded(type, {weight, 2 * weight}));
      EXPECT_EQ(out.d_e.values(), Doubles({0, 0, weight, weight, 0, 0}));
      for (const double d_z : out.d_z.values()) EXPECT_TRUE(std::isfinite(d_z));
      // One alone of three that count still has a gradient.
      EXPECT_EQ(out.d_z.values()[1] > 0.1, top_k == 1);
    }
  }
}

TEST_F(MixtureGateKernelTest, NaNLogitsGiveNaN) {
  const double nan = std::nan("");
  for (const int64_t top_k : {1, 2, 3}) {
    const RealInput e(Real::kFloat32, {1, 2, 3}), z(Real::kFloat32, {0, nan, nan});
    const RealInput d_y(Real::kFloat32, {1});
    const MixtureTensors tensors{Real::kFloat32, 1, 3, 1, e.data(), z.data(), top_k};
    Outputs out(Real::kFloat32, tensors);
    Run(tensors, d_y.data(), nullptr, &out, SerialFor);
    EXPECT_TRUE(std::isnan(out.y.values()[0]));
  }
}

TEST_F(MixtureGateKernelTest, WithoutExpertsThereIsNothing) {
  const MixtureTensors tensors{Real::kFloat32, 2, 0, 3, nullptr, nullptr, 0};
  Outputs out(Real::kFloat32, tensors);
  const RealInput d_y(Real::kFloat32, Doubles(6, 1));
  Run(tensors, d_y.data(), nullptr, &out, SerialFor);
  EXPECT_EQ(out.y.values(), Doubles(6, 0));
}

TEST_F(MixtureGateKernelTest, RowsWithoutExpertsAreNotGoneThrough) {
  const MixtureTensors tensors{Real::kFloat32, int64_t{1} << 60, 0, 0, nullptr, nullptr, 0};
  MixtureGate(tensors, nullptr, nullptr, SerialFor);
  MixtureGateGradient(tensors, nullptr, nullptr, nullptr, nullptr, SerialFor);
}

}  // namespace
}  // namespace caffe2op_mask
