#include "kernels/masked_fill.h"

#include <gtest/gtest.h>

#include "tests/cpp/masked_fill_testing.h"

namespace caffe2op_mask {
namespace {

TEST_F(MaskedFillTest, EveryBroadcastOfUpToFiveDims) {
  for (int time = 0; time < 6000 && !HasFailure(); ++time) ExpectSomeBroadcast();
}

TEST_F(MaskedFillTest, RowsOfEveryLength) {
  for (const int64_t n : Counts(random_)) {
    ExpectFilled({n}, {n}, Width());
    ExpectFilled({n, 3}, {n}, Width());
    ExpectFilled({2, n}, {1, n}, Width());
    ExpectFilled({3, n, 2}, {3, 1}, Width());
    ExpectFilled({3, n, 2}, {3, n, 1}, Width());
    ExpectFilled({2, n, 2}, {2, 1, 2}, Width());
    ExpectFilled({n, 5}, {1, 5}, Width());
    if (HasFailure()) return;
  }
}

TEST_F(MaskedFillTest, OneEntryForAll) {
  ExpectFilled({300, 40}, {}, 4);
  ExpectFilled({300, 40}, {1}, 4);
  ExpectFilled({300, 40}, {1, 1}, 4);
  ExpectFilled({}, {}, 8);
}

TEST_F(MaskedFillTest, LargeData) {
  for (const int64_t width : {1, 2, 4, 8}) {
    ExpectFilled({200, 1001}, {200, 1001}, width);
    ExpectFilled({20, 3, 1001}, {20, 1, 1001}, width);
    ExpectFilled({1000, 129}, {1000}, width);
  }
}

TEST_F(MaskedFillTest, PiecesAreApart) {
  const Dims data_dims{7, 900, 3};
  const Dims mask_dims{1, 900};
  const LeadingEntries entries = LeadingBroadcast(data_dims.data(), 3, mask_dims.data(), 2);
  const Bytes keep = RandomMask(random_, 900, {0.5, true});
  const GuardedBytes mask(keep);
  const Bytes in(static_cast<size_t>(Size(data_dims)) * 2, 1);
  ExpectPiecesApart(in.size(), [&](ParallelFor parallel_for, uint8_t* out) {
    MaskedFill(mask.mask(), entries, 2, in.data(), 0, out, parallel_for);
  });
}

}  // namespace
}  // namespace caffe2op_mask
