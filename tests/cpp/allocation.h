#pragma once

// What every library of this process asks of its allocator: counted, and made to fail.

#include <atomic>
#include <cstdint>

namespace caffe2op_mask {

// A sanitizer has the allocator for itself; tests of it are skipped then.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kAllocationsSeen = false;
#else
constexpr bool kAllocationsSeen = true;
#endif

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
