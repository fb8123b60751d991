#pragma once

// Fills under masks of every broadcast, as tests and a fuzzer draw them.

#include <gtest/gtest.h>

#include <vector>

#include "kernels/masked_fill.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/masked_fill.h"

namespace caffe2op_mask {

class MaskedFillTest : public SeededTest {
 protected:
  // Out of place and in place.
  void ExpectFilled(const Dims& data_dims, const Dims& mask_dims, int64_t width) {
    SCOPED_TRACE(
        ::testing::Message() << "data " << ::testing::PrintToString(data_dims) << " of " << width
                             << " bytes, mask " << ::testing::PrintToString(mask_dims));
    const LeadingEntries entries = LeadingBroadcast(
        data_dims.data(), static_cast<int64_t>(data_dims.size()), mask_dims.data(),
        static_cast<int64_t>(mask_dims.size()));
    EXPECT_EQ(entries.at.rows() * entries.at.columns() * entries.covered, Size(data_dims));
    const Bytes keep =
        RandomMask(random_, Size(mask_dims), Patterns()[random_() % Patterns().size()]);
    const Bytes in = RandomBytes(random_, Size(data_dims) * width);
    const uint64_t fill = RandomFill(random_, width);
    const Bytes expected =
        reference::MaskedFill(keep, data_dims, mask_dims, static_cast<size_t>(width), in, fill);
    const size_t slack = random_() % 3 * 19;
    const GuardedBytes mask(keep, slack);
    const GuardedBytes from(in, slack);
    GuardedBytes out(in.size(), slack);
    const ParallelFor parallel_for = RandomFor(random_, Size(data_dims));
    MaskedFill(mask.mask(), entries, width, from.data(), fill, out.data(), parallel_for);
    out.Expect(expected);
    GuardedBytes same(in, slack);
    MaskedFill(mask.mask(), entries, width, same.data(), fill, same.data(), parallel_for);
    same.Expect(expected);
  }

  int64_t Width() { return int64_t{1} << random_() % 4; }

  // All that can happen to a dim: of size 0 or 1 or more, in the mask or not.
  void ExpectSomeBroadcast() {
    Dims data_dims(random_() % 6);
    const bool empty = random_() % 10 == 0;
    for (int64_t& dim : data_dims) dim = Uniform(random_, empty ? 0 : 1, 6);
    Dims mask_dims = data_dims;
    mask_dims.resize(random_() % (data_dims.size() + 1));
    for (int64_t& dim : mask_dims) dim = random_() % 2 == 0 ? 1 : dim;
    ExpectFilled(data_dims, mask_dims, Width());
  }
};

}  // namespace caffe2op_mask
