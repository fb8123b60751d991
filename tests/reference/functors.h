#pragma once

// Whether a mask shape keeps column j of a row, word for word as the table in
// SequenceMask's documentation has it, in integers that cannot overflow.

#include <cstdint>

namespace caffe2op_mask {
namespace reference {

using Wide = __int128;

inline bool SequenceKeeps(int64_t length, int64_t j) {
  return !(j >= length);
}

inline bool WindowKeeps(int64_t center, int64_t radius, int64_t j) {
  const Wide distance = Wide{j} - center;
  return !((distance < 0 ? -distance : distance) > radius);
}

inline bool LeftPadKeeps(int64_t left_pad, int64_t j) {
  return !(j < left_pad);
}

inline bool UpperKeeps(int64_t i, int64_t diagonal, int64_t j) {
  return !(j > Wide{i} + diagonal);
}

inline bool LowerKeeps(int64_t i, int64_t diagonal, int64_t j) {
  return !(j < Wide{i} + diagonal);
}

inline bool UpperDiagKeeps(int64_t i, int64_t diagonal, int64_t j) {
  return !(j >= Wide{i} + diagonal);
}

inline bool LowerDiagKeeps(int64_t i, int64_t diagonal, int64_t j) {
  return !(j <= Wide{i} + diagonal);
}

}  // namespace reference
}  // namespace caffe2op_mask
