#pragma once

// Blobs and operators in few words, for tests that run them as nets do: by
// their definitions, through a workspace.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "caffe2/core/operator.h"
#include "caffe2/core/workspace.h"
#include "caffe2/utils/proto_utils.h"

namespace caffe2 {
namespace mask {

template <typename T>
void Feed(
    Workspace* ws, const std::string& name, const std::vector<int64_t>& sizes,
    const std::vector<T>& values) {
  Tensor* const tensor = BlobGetMutableTensor(ws->CreateBlob(name), sizes, at::dtype<T>());
  ASSERT_EQ(tensor->numel(), static_cast<int64_t>(values.size())) << name;
  std::copy(values.begin(), values.end(), tensor->template mutable_data<T>());
}

inline const Tensor& Fetch(const Workspace& ws, const std::string& name) {
  return ws.GetBlob(name)->Get<Tensor>();
}

// The blob is a tensor of this type, shape and content.
template <typename T>
void ExpectBlob(
    const Workspace& ws, const std::string& name, const std::vector<int64_t>& sizes,
    const std::vector<T>& values) {
  const Tensor& tensor = Fetch(ws, name);
  EXPECT_EQ(tensor.sizes().vec(), sizes) << name;
  ASSERT_TRUE(tensor.IsType<T>()) << name << " is of type " << tensor.dtype().name();
  const T* const data = tensor.data<T>();
  EXPECT_EQ(std::vector<T>(data, data + tensor.numel()), values) << name;
}

inline OperatorDef Op(
    const std::string& type, const std::vector<std::string>& inputs,
    const std::vector<std::string>& outputs, const std::vector<Argument>& arguments = {}) {
  return CreateOperatorDef(type, "", inputs, outputs, arguments);
}

template <typename T>
Argument Arg(const std::string& name, const T& value) {
  return MakeArgument<T>(name, value);
}

inline Argument Arg(const std::string& name, const char* value) {
  return MakeArgument<std::string>(name, value);
}

}  // namespace mask
}  // namespace caffe2
