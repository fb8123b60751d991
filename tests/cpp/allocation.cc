#include "tests/cpp/allocation.h"

#include <cerrno>
#include <cstdlib>
#include <limits>

namespace caffe2op_mask {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
std::atomic<int64_t> until_failure{kNever};

}  // namespace

std::atomic<int64_t> bytes_asked{0};

FailingAllocation::FailingAllocation(int64_t before) {
  until_failure = before;
}

FailingAllocation::~FailingAllocation() {
  until_failure = kNever;
}

bool FailingAllocation::happened() const {
  return until_failure < 0;
}

}  // namespace caffe2op_mask

namespace {

// Counts a request; false where it is to fail.
bool Granted(size_t size) {
  using namespace caffe2op_mask;
  bytes_asked.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed);
  if (until_failure.load(std::memory_order_relaxed) == kNever) return true;
  return until_failure.fetch_sub(1) != 0;
}

}  // namespace

// The allocator of every library in this process; std::vector comes by malloc, a tensor's
// data by posix_memalign.
#define ALLOCATOR extern "C" __attribute__((visibility("default")))

extern "C" void* __libc_malloc(size_t size);                      // NOLINT: glibc's names
extern "C" void* __libc_calloc(size_t count, size_t size);        // NOLINT
extern "C" void* __libc_realloc(void* old, size_t size);          // NOLINT
extern "C" void* __libc_memalign(size_t alignment, size_t size);  // NOLINT

ALLOCATOR void* malloc(size_t size) {
  if (Granted(size)) return __libc_malloc(size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR void* calloc(size_t count, size_t size) {
  if (Granted(count * size)) return __libc_calloc(count, size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR void* realloc(void* old, size_t size) {
  if (Granted(size)) return __libc_realloc(old, size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR int posix_memalign(void** out, size_t alignment, size_t size) {
  if (!Granted(size)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

ALLOCATOR void* aligned_alloc(size_t alignment, size_t size) {
  if (Granted(size)) return __libc_memalign(alignment, size);
  errno = ENOMEM;
  return nullptr;
}
