// Runs nets that were saved, and prints what comes of them. It names no operator:
// those of caffe2op_mask are there because the program is linked to the library.
//
//   run_net INIT.pb PREDICT.pb [INPUTS]
//
// INIT.pb makes blobs, of parameters for one. INPUTS is a text that has more, one
// on a line:
//
//   scores float32 [2, 3] 0.5 1 -inf 2 2.5 3
//
// The external outputs of PREDICT.pb are printed in the same way. A program that
// is not linked to the library loads it by its path: run_net --library=PATH ...

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "caffe2/core/init.h"
#include "caffe2/core/module.h"
#include "caffe2/core/workspace.h"
#include "caffe2/utils/proto_utils.h"

C10_DEFINE_string(library, "", "Path of a library of operators to load first.");

namespace {

caffe2::NetDef ReadNet(const std::string& path) {
  caffe2::NetDef net;
  if (!caffe2::ReadProtoFromBinaryFile(path, &net)) {
    throw std::runtime_error(path + " is not a saved net.");
  }
  return net;
}

// Calls `visit` with the name of each type that can be read and printed and a
// value of it, until it returns true; false where it never does.
template <typename Visitor>
bool VisitTypes(Visitor visit) {
  return visit("float32", float()) || visit("float64", double()) || visit("int32", int32_t()) ||
         visit("int64", int64_t()) || visit("bool", bool());
}

std::vector<std::string> Words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

// Streams do not read "inf" and "nan", which they write.
template <typename T>
T Number(const std::string& word) {
  char* end = nullptr;
  T number;
  bool fits = true;
  if (std::is_floating_point<T>::value) {
    number = static_cast<T>(std::strtod(word.c_str(), &end));
  } else {
    const long long read = std::strtoll(word.c_str(), &end, 10);  // NOLINT(google-runtime-int)
    number = static_cast<T>(read);
    fits = static_cast<long long>(number) == read;  // NOLINT(google-runtime-int)
  }
  if (*end != '\0' || !fits) {
    throw std::runtime_error("\"" + word + "\" is not a number of its type.");
  }
  return number;
}

// Makes the blob that a line of INPUTS tells of.
void ReadBlob(const std::string& line, caffe2::Workspace* workspace) {
  const std::size_t open = line.find('['), close = line.find(']', open);
  const std::vector<std::string> head = Words(line.substr(0, open));
  if (close == std::string::npos || head.size() != 2) {
    throw std::runtime_error("a blob is written NAME TYPE [SHAPE] VALUES.");
  }
  std::string shape = line.substr(open + 1, close - open - 1);
  std::replace(shape.begin(), shape.end(), ',', ' ');
  std::vector<int64_t> sizes;
  for (const std::string& word : Words(shape)) {
    sizes.push_back(Number<int64_t>(word));
    if (sizes.back() < 0)
      throw std::runtime_error("a size must be at least 0, but is " + word + ".");
  }
  const std::vector<std::string> values = Words(line.substr(close + 1));

  caffe2::Blob* const blob = workspace->CreateBlob(head[0]);
  caffe2::Tensor* const tensor = caffe2::BlobGetMutableTensor(blob, sizes, caffe2::CPU);
  if (static_cast<std::size_t>(tensor->numel()) != values.size()) {
    throw std::runtime_error(
        "blob " + head[0] + " must have " + std::to_string(tensor->numel()) +
        " values by its shape, but has " + std::to_string(values.size()) + ".");
  }
  const bool known = VisitTypes([&](const char* type, auto zero) {
    using T = decltype(zero);
    if (head[1] != type) return false;
    std::transform(values.begin(), values.end(), tensor->template mutable_data<T>(), Number<T>);
    return true;
  });
  if (!known) throw std::runtime_error("blob " + head[0] + " has unknown type " + head[1] + ".");
}

void ReadBlobs(const std::string& path, caffe2::Workspace* workspace) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + " cannot be read.");
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    try {
      ReadBlob(line, workspace);
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(path + ", line " + std::to_string(number) + ": " + error.what());
    }
  }
}

void PrintBlob(const std::string& name, const caffe2::Workspace& workspace) {
  const caffe2::Blob* const blob = workspace.GetBlob(name);
  if (blob == nullptr) throw std::runtime_error("the net made no blob " + name + ".");
  const caffe2::Tensor& tensor = blob->Get<caffe2::Tensor>();
  const bool known = VisitTypes([&](const char* type, auto zero) {
    using T = decltype(zero);
    if (!tensor.IsType<T>()) return false;
    std::cout << name << ' ' << type << " [";
    for (int d = 0; d < tensor.dim(); ++d) std::cout << (d == 0 ? "" : ", ") << tensor.size(d);
    std::cout << ']' << std::setprecision(std::numeric_limits<T>::max_digits10);
    const T* const data = tensor.data<T>();
    for (int64_t i = 0; i < tensor.numel(); ++i) std::cout << ' ' << data[i];
    std::cout << '\n';
    return true;
  });
  if (!known) throw std::runtime_error("output " + name + " is of a type that is not printed.");
}

void Run(const std::vector<std::string>& files) {
  if (!FLAGS_library.empty()) caffe2::LoadModule("caffe2op_mask", FLAGS_library);
  caffe2::Workspace workspace;
  const caffe2::NetDef init = ReadNet(files[0]), predict = ReadNet(files[1]);
  if (!workspace.RunNetOnce(init)) throw std::runtime_error(files[0] + " did not run.");
  if (files.size() == 3) ReadBlobs(files[2], &workspace);
  if (!workspace.RunNetOnce(predict)) throw std::runtime_error(files[1] + " did not run.");
  for (const std::string& name : predict.external_output()) PrintBlob(name, workspace);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    caffe2::GlobalInit(&argc, &argv);
    if (argc != 3 && argc != 4) {
      std::cerr << "usage: run_net [--library=PATH] INIT.pb PREDICT.pb [INPUTS]\n";
      return 2;
    }
    Run({argv + 1, argv + argc});
  } catch (const c10::Error& error) {
    std::cerr << "run_net: " << error.what_without_backtrace() << '\n';
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "run_net: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
