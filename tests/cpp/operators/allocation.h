#pragma once

// What every library of this process asks of its allocator: counted, and made to fail. A sanitizer
// has the allocator for itself, so that the program with these tests is not built for one.

#include <atomic>
#include <cstdint>

namespace caffe2op_mask {

// Bytes that anybody has asked for since the process began.
extern std::atomic<int64_t> bytes_asked;

// While it lives, one allocation fails: that which comes after `before` others, on any thread.
class FailingAllocation {
 public:
  explicit FailingAllocation(int64_t before);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // False where there were not as many.
  bool happened() const;
};

}  // namespace caffe2op_mask
