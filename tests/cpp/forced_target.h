#pragma once

namespace caffe2op_mask {

// The target that the command line asks for, or null.
extern const char* forced_target;

}  // namespace caffe2op_mask
