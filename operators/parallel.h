#pragma once

#include <ATen/Parallel.h>

#include "kernels/parallel.h"

namespace caffe2 {
namespace mask {

// The threads of the runtime, as kernels ask for them.
inline void AtParallelFor(
    int64_t begin, int64_t end, int64_t grain, caffe2op_mask::RangeBody body) {
  // What is too little for two threads need not ask how many there are, which costs
  // as much as a small operator does in all.
  if (end - begin <= grain) {
    caffe2op_mask::SerialFor(begin, end, grain, body);
  } else {
    at::parallel_for(begin, end, grain, body);
  }
}

}  // namespace mask
}  // namespace caffe2
