#include "tests/cpp/operators/allocation.h"

#include <dlfcn.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
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

// Whether the caller is GCC's OpenMP, which ends the process where it has no memory for its
// threads: that cannot be an operator's error.
bool IsOpenMP(const void* caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
         std::strstr(info.dli_fname, "libgomp") != nullptr;
}

// Counts a request; false where it is to fail.
bool Granted(size_t size, const void* caller) {
  using namespace caffe2op_mask;
  bytes_asked.fetch_add(static_cast<int64_t>(size), std::memory_order_relaxed);
  if (until_failure.load(std::memory_order_relaxed) == kNever) return true;
  if (IsOpenMP(caller)) return true;
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
  if (Granted(size, __builtin_return_address(0))) return __libc_malloc(size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR void* calloc(size_t count, size_t size) {
  if (Granted(count * size, __builtin_return_address(0))) return __libc_calloc(count, size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR void* realloc(void* old, size_t size) {
  if (Granted(size, __builtin_return_address(0))) return __libc_realloc(old, size);
  errno = ENOMEM;
  return nullptr;
}

ALLOCATOR int posix_memalign(void** out, size_t alignment, size_t size) {
  if (!Granted(size, __builtin_return_address(0))) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

ALLOCATOR void* aligned_alloc(size_t alignment, size_t size) {
  if (Granted(size, __builtin_return_address(0))) return __libc_memalign(alignment, size);
  errno = ENOMEM;
  return nullptr;
}
