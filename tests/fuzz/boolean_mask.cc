// Chunks of a bool mask, and what is made of them: compaction, expansion, counts.

#include "tests/cpp/boolean_mask_lengths_testing.h"
#include "tests/cpp/boolean_mask_testing.h"
#include "tests/cpp/boolean_unmask_testing.h"
#include "tests/cpp/chunk_testing.h"
#include "tests/fuzz/fuzz.h"

namespace caffe2op_mask {
namespace {

// Of a row, so that rows of `count` are no more than some KiB.
int64_t DrawRowBytes(Random& random, int64_t count) {
  const std::vector<int64_t> widths = RowWidths();
  const int64_t drawn = random() % 3 == 0 ? Uniform(random, 1, 70) : widths[random() % 13];
  return count * drawn > 1 << 17 ? drawn % 8 + 1 : drawn;
}

class Chunks : public Fuzzed<ChunkTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const int64_t count = std::min(Count(), kChunkEntries);
    const Bytes mask = RandomMask(random_, count, DrawPattern());
    switch (random_() % 4) {
      case 0: return ExpectPacked(mask, Slack());
      case 1: return ExpectIndexed(mask, Uniform(random_, 0, int64_t{1} << 40));
      default: return ExpectMoved(mask, DrawRowBytes(random_, count), Slack());
    }
  }
};

class Compaction : public Fuzzed<BooleanMaskKernelTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const int64_t count = Count();
    if (OneIn(4)) return ExpectIndices(count, DrawPattern());
    ExpectCompressed({count, DrawRowBytes(random_, count), DrawPattern(), Slack()});
  }
};

class Expansion : public Fuzzed<BooleanUnmaskKernelTest> {
 public:
  using Fuzzed::Fuzzed;

  void TestBody() override {
    const int64_t count = Count();
    const int64_t masks = Uniform(random_, 1, 4);
    ExpectThereAndBack(count, masks, DrawRowBytes(random_, count), DrawPattern(), Slack());
  }
};

template <typename Index>
class Lengths : public Fuzzed<BooleanMaskLengthsKernelTest<Index>> {
 public:
  using Fuzzed<BooleanMaskLengthsKernelTest<Index>>::Fuzzed;

  void TestBody() override {
    if (this->OneIn(3)) {
      const int64_t rows = Uniform(this->random_, 0, 9);
      return this->ExpectRows(rows, this->Count(), this->DrawPattern());
    }
    std::vector<Index> lengths(static_cast<size_t>(Uniform(this->random_, 0, 100)));
    const int64_t longest = this->OneIn(4) ? 5000 : 70;
    for (Index& length : lengths) {
      length = static_cast<Index>(this->OneIn(4) ? 0 : Uniform(this->random_, 0, longest));
    }
    this->ExpectCounted(lengths, this->DrawPattern());
  }
};

}  // namespace
}  // namespace caffe2op_mask

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe2op_mask;
  return Fuzz(data, size, [](Random& random) {
    switch (random() % 5) {
      case 0: return Chunks(random).TestBody();
      case 1: return Compaction(random).TestBody();
      case 2: return Expansion(random).TestBody();
      case 3: return Lengths<int32_t>(random).TestBody();
      default: return Lengths<int64_t>(random).TestBody();
    }
  });
}
