#pragma once

// A tensor as contracts see it, whichever runtime holds it.

#include <cstdint>
#include <string_view>

#include "contracts/sizes.h"
#include "kernels/real.h"

namespace caffe2op_mask {

// Those that operators know by name; kOther is any else, such as strings.
enum class ElementType {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt32,
  kInt64,
  kBool,
  kUInt8,
  kInt8,
  kUInt16,
  kInt16,
  kOther
};

// NumPy's name: "float32", "bool", "bfloat16".
const char* NameOf(ElementType type);

constexpr int64_t ElementBytes(ElementType type) {
  switch (type) {
    case ElementType::kFloat64:
    case ElementType::kInt64: return 8;
    case ElementType::kFloat32:
    case ElementType::kInt32: return 4;
    case ElementType::kFloat16:
    case ElementType::kBFloat16:
    case ElementType::kUInt16:
    case ElementType::kInt16: return 2;
    case ElementType::kBool:
    case ElementType::kUInt8:
    case ElementType::kInt8: return 1;
    case ElementType::kOther: break;
  }
  return 0;
}

constexpr bool IsReal(ElementType type) {
  return type <= ElementType::kBFloat16;
}

// The type in which kernels know a real one.
constexpr Real RealOf(ElementType type) {
  return type == ElementType::kFloat32   ? Real::kFloat32
         : type == ElementType::kFloat64 ? Real::kFloat64
         : type == ElementType::kFloat16 ? Real::kFloat16
                                         : Real::kBFloat16;
}

// The type computed in, and of what has more digits than its inputs, such as a log-sum-exp.
constexpr ElementType WideOf(Real type) {
  return type == Real::kFloat64 ? ElementType::kFloat64 : ElementType::kFloat32;
}

// What `data` of a tensor without entries is: null stands for a tensor that is not there.
alignas(64) inline constexpr char kNoEntries[64] = {};

struct TensorView {
  ElementType type = ElementType::kOther;
  int64_t element_bytes = 0;
  bool is_plain = false;          // elements are bytes, moved by memcpy
  std::string_view other_name{};  // of kOther
  Sizes sizes{};
  // In elements, of each dim; none where these follow one another. Contracts take them where they
  // say so, and else only what is contiguous.
  Sizes strides{};
  const void* data = nullptr;

  int64_t rank() const { return sizes.rank(); }
  int64_t numel() const { return Product(sizes); }
  bool Is(ElementType other) const { return type == other; }
  std::string_view type_name() const { return Is(ElementType::kOther) ? other_name : NameOf(type); }

  template <typename T>
  const T* As() const {
    return static_cast<const T*>(data);
  }
};

// True where entries of the last dim follow one another.
inline bool HasContiguousRows(const TensorView& view) {
  return view.strides.rank() == 0 || view.sizes.FromBack(1) <= 1 || view.strides.FromBack(1) == 1;
}

inline bool SameType(const TensorView& a, const TensorView& b) {
  return a.type == b.type && a.other_name == b.other_name;
}

// Bytes of a row of these sizes; 0 where there is no such row, as it may then be of any size.
inline int64_t RowBytes(int64_t rows, Sizes row, int64_t element_bytes) {
  return rows == 0 ? 0 : Product(row) * element_bytes;
}

}  // namespace caffe2op_mask
