#include "kernels/mixture_gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/cpp/mixture_gate_testing.h"

namespace caffe2op_mask {
namespace {

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
