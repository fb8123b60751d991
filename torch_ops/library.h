#pragma once

// How an operator is registered. Each is there twice: NAME, to which the Python package adds a
// gradient, and _NAME, which has none and so costs less where none is wanted.

#include <torch/csrc/stable/library.h>

#include <string>

namespace caffe2op_mask {
namespace torch_ops {

using torch::stable::detail::StableLibrary;

inline void Define(StableLibrary* library, const std::string& schema) {
  library->def(schema.c_str());
  library->def(("_" + schema).c_str());
}

inline void Implement(
    StableLibrary* library, const std::string& name,
    void (*kernel)(StableIValue*, uint64_t, uint64_t)) {
  library->impl(name.c_str(), kernel);
  library->impl(("_" + name).c_str(), kernel);
}

}  // namespace torch_ops
}  // namespace caffe2op_mask
