// A program that knows Caffe2 and no operator of ours: it loads the library by
// its path, runs a net that was saved, and prints what comes of it.
//
//   run_net libcaffe2op_mask.so init.pb predict.pb
//
// Each external output of predict.pb is a line: its name, type, shape, values.

#include <dlfcn.h>

#include <iostream>
#include <limits>
#include <stdexcept>
#include <string>

#include "caffe2/core/init.h"
#include "caffe2/core/workspace.h"
#include "caffe2/utils/proto_utils.h"

namespace {

caffe2::NetDef ReadNet(const char* path) {
  caffe2::NetDef net;
  if (!caffe2::ReadProtoFromBinaryFile(path, &net)) {
    throw std::runtime_error(std::string(path) + " is not a saved net.");
  }
  return net;
}

// False where T is not the tensor's type.
template <typename T>
bool PrintAs(const char* type, const caffe2::Tensor& tensor) {
  if (!tensor.IsType<T>()) return false;
  std::cout << ' ' << type << " [";
  for (int d = 0; d < tensor.dim(); ++d) std::cout << (d == 0 ? "" : ", ") << tensor.size(d);
  std::cout << ']';
  for (int64_t i = 0; i < tensor.numel(); ++i) std::cout << ' ' << tensor.data<T>()[i];
  std::cout << '\n';
  return true;
}

void Print(const std::string& name, const caffe2::Tensor& tensor) {
  std::cout << name;
  if (!PrintAs<float>("float32", tensor) && !PrintAs<double>("float64", tensor) &&
      !PrintAs<int32_t>("int32", tensor) && !PrintAs<int64_t>("int64", tensor) &&
      !PrintAs<bool>("bool", tensor)) {
    throw std::runtime_error("output " + name + " is of a type that cannot be printed.");
  }
}

void Run(const char* library, const char* init, const char* predict) {
  if (dlopen(library, RTLD_NOW | RTLD_GLOBAL) == nullptr) throw std::runtime_error(dlerror());
  caffe2::Workspace workspace;
  const caffe2::NetDef net = ReadNet(predict);
  if (!workspace.RunNetOnce(ReadNet(init)) || !workspace.RunNetOnce(net)) {
    throw std::runtime_error("the net did not run.");
  }
  std::cout.precision(std::numeric_limits<double>::max_digits10);
  for (const std::string& name : net.external_output()) {
    const caffe2::Blob* const blob = workspace.GetBlob(name);
    if (blob == nullptr) throw std::runtime_error("the net made no blob " + name + ".");
    Print(name, blob->Get<caffe2::Tensor>());
  }
}

}  // namespace

int main(int argc, char** argv) {
  caffe2::GlobalInit(&argc, &argv);
  if (argc != 4) {
    std::cerr << "usage: run_net LIBRARY INIT.pb PREDICT.pb\n";
    return 2;
  }
  try {
    Run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "run_net: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
