#pragma once

#include <optional>

#include "tests/reference/bytes.h"
#include "tests/reference/fill.h"

namespace caffe2op_mask {
namespace reference {

struct MaskedRows {
  Bytes mask;
  bool dense;    // one row for each position, else for each that the mask owns
  Bytes values;  // the rows
};

constexpr size_t kNobody = static_cast<size_t>(-1);

// Which of the masks owns position p: the first that is True there.
inline size_t Owner(const std::vector<MaskedRows>& masks, size_t p) {
  for (size_t i = 0; i < masks.size(); ++i) {
    if (masks[i].mask[p] != 0) return i;
  }
  return kNobody;
}

// Calls visit(p, owner, row) for the n positions: `row` counts the rows of the
// owner's values, and is 0 where there is no owner.
template <class F>
void ForEachPosition(const std::vector<MaskedRows>& masks, size_t n, const F& visit) {
  std::vector<size_t> next(masks.size(), 0);
  for (size_t p = 0; p < n; ++p) {
    const size_t owner = Owner(masks, p);
    visit(p, owner, owner == kNobody ? 0 : masks[owner].dense ? p : next[owner]++);
  }
}

// Rows to where their masks are True in `out`; the rest of it is filled, or
// stays where there is no fill.
inline void ExpandRows(
    const std::vector<MaskedRows>& masks, size_t n, size_t row_bytes,
    std::optional<uint64_t> fill_pattern, Bytes* out) {
  ForEachPosition(masks, n, [&](size_t p, size_t owner, size_t row) {
    if (owner != kNobody) {
      CopyBytes(masks[owner].values, row * row_bytes, row_bytes, out, p * row_bytes);
    } else if (fill_pattern) {
      FillBytes(*fill_pattern, p * row_bytes, row_bytes, out);
    }
  });
}

// Sets the values of the masks to the rows of `data` that go to them.
inline void SplitRows(
    size_t n, size_t row_bytes, const Bytes& data, std::vector<MaskedRows>* masks) {
  for (MaskedRows& rows : *masks) rows.values.assign(rows.dense ? n * row_bytes : 0, 0);
  ForEachPosition(*masks, n, [&](size_t p, size_t owner, size_t row) {
    if (owner == kNobody) return;
    Bytes& values = (*masks)[owner].values;
    if (values.size() < (row + 1) * row_bytes) values.resize((row + 1) * row_bytes);
    CopyBytes(data, p * row_bytes, row_bytes, &values, row * row_bytes);
  });
}

}  // namespace reference
}  // namespace caffe2op_mask
