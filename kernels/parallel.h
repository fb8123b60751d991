#pragma once

// The one seam through which threads enter kernels. A kernel is handed a
// ParallelFor and never asks who runs it: the operators bind it to
// at::parallel_for, kernel tests to SerialFor or to a shuffling one.

#include <cstdint>

namespace caffe2op_mask {

// Reference to a callable `f(begin, end)`; the callable must outlive it.
class RangeBody {
 public:
  template <class F>
  RangeBody(const F& f)  // NOLINT(google-explicit-constructor): a lambda passes as an argument
      : object_(&f), call_([](const void* object, int64_t begin, int64_t end) {
          (*static_cast<const F*>(object))(begin, end);
        }) {}

  void operator()(int64_t begin, int64_t end) const { call_(object_, begin, end); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int64_t);
};

// Calls `body` on disjoint ranges that together cover [begin, end), possibly at
// the same time. A range holds at least `grain` indices where enough are left.
using ParallelFor = void (*)(int64_t begin, int64_t end, int64_t grain, RangeBody body);

// All of it at once, on the calling thread.
inline void SerialFor(int64_t begin, int64_t end, int64_t /*grain*/, RangeBody body) {
  if (begin < end) body(begin, end);
}

// Bytes that are worth a thread: below this, waking one costs more than it saves.
constexpr int64_t kGrainBytes = int64_t{1} << 18;

// How many items of `bytes_each` make one grain.
constexpr int64_t GrainFor(int64_t bytes_each) {
  return bytes_each >= kGrainBytes ? 1 : kGrainBytes / (bytes_each > 0 ? bytes_each : 1);
}

}  // namespace caffe2op_mask
