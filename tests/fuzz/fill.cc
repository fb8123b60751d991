// Spans, fills under a broadcast mask, and fills outside of what a functor keeps.

#include <algorithm>

#include "tests/cpp/fill_testing.h"
#include "tests/cpp/masked_fill_testing.h"
#include "tests/cpp/sequence_mask_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

class Fill : public Fuzzed<FillTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const int64_t width = int64_t{1} << random_() % 4;
    const int64_t count = Count();
    switch (random_() % 3) {
      case 0: return ExpectFilled(width, count, Slack());
      case 1: return ExpectCopied(count, Slack(), RandomStores(random_));
      default: {
        const int64_t begin = Uniform(random_, 0, count);
        return ExpectMasked(width, count, begin, Uniform(random_, begin, count));
      }
    }
  }
};

class MaskedFills : public Fuzzed<MaskedFillTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    if (OneIn(2)) return ExpectSomeBroadcast();
    Dims dims{Uniform(random_, 0, 5), Count(), Uniform(random_, 0, 3)};
    std::shuffle(dims.begin(), dims.end(), random_);
    Dims mask_dims = dims;
    mask_dims.resize(random_() % 4);
    for (int64_t& dim : mask_dims) dim = OneIn(3) ? 1 : dim;
    ExpectFilled(dims, mask_dims, Width());
  }
};

class RepeatedMasks : public Fuzzed<RepeatedMaskTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    if (OneIn(2)) return ExpectEveryFunctor();
    const RepeatedDims shape{Uniform(random_, 0, 9), Count(), Uniform(random_, 0, 5), Width()};
    ExpectIntervals(shape, RandomFor(random_, shape.left * shape.masked_dims));
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) {
    switch (random() % 3) {
      case 0: return Fill(random).TestBody();
      case 1: return MaskedFills(random).TestBody();
      default: return RepeatedMasks(random).TestBody();
    }
  });
}
