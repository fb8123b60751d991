#pragma once

// Spans that are filled, copied and masked, against the oracle.

#include <gtest/gtest.h>

#include "kernels/fill.h"
#include "tests/cpp/guarded_bytes.h"
#include "tests/cpp/seeded_test.h"
#include "tests/cpp/sweep.h"
#include "tests/reference/fill.h"

namespace caffe2op_mask {

class FillTest : public SeededTest {
 protected:
  void ExpectFilled(int64_t width, int64_t count, size_t slack) {
    const uint64_t fill = RandomFill(random_, width);
    GuardedBytes out(static_cast<size_t>(count * width), slack);
    FillSpan(fill, count * width, out.data(), RandomStores(random_));
    Bytes expected(out.size());
    reference::FillBytes(fill, 0, expected.size(), &expected);
    out.Expect(expected);
    if (HasFailure()) FAIL() << count << " elements of " << width << ", slack " << slack;
  }

  void ExpectCopied(int64_t bytes, size_t slack, Stores stores) {
    const Bytes in = RandomBytes(random_, bytes);
    const GuardedBytes from(in, random_() % 65);
    GuardedBytes out(in.size(), slack);
    CopySpan(from.data(), bytes, out.data(), stores);
    out.Expect(in);
  }

  // MaskSpan out of place and in place, by elements of `width`.
  void ExpectMasked(int64_t width, int64_t count, int64_t keep_begin, int64_t keep_end) {
    const Bytes in = RandomBytes(random_, count * width);
    const uint64_t fill = RandomFill(random_, width);
    const int64_t begin = keep_begin * width;
    const int64_t end = keep_end * width;
    const Bytes expected =
        reference::MaskSpan(in, static_cast<size_t>(begin), static_cast<size_t>(end), fill);
    const size_t slack = random_() % 65;
    const GuardedBytes from(in, slack);
    GuardedBytes out(in.size(), random_() % 2 == 0 ? 0 : slack);
    const Stores stores = RandomStores(random_);
    MaskSpan(from.data(), count * width, begin, end, fill, out.data(), stores);
    out.Expect(expected);
    GuardedBytes same(in, slack);
    MaskSpan(same.data(), count * width, begin, end, fill, same.data(), stores);
    same.Expect(expected);
    if (HasFailure()) {
      FAIL() << count << " elements of " << width << ", kept [" << keep_begin << ", " << keep_end
             << "), " << slack << " bytes from the page's end";
    }
  }
};

}  // namespace caffe2op_mask
