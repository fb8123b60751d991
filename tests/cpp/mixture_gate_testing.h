#pragma once

// Mixtures and their gradients beside the reference, as tests and a fuzzer draw them.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/mixture_gate.h"
#include "tests/cpp/real_testing.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/mixture_gate.h"

namespace caffe2op_mask {

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

}  // namespace caffe2op_mask
