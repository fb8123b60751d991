#pragma once

// A smaller tensor as NumPy broadcasts it to a larger shape, without a copy: its
// dims are those of the larger shape counted from the back, or 1, or absent.

#include <cstdint>
#include <vector>

namespace caffe2op_mask {

// The larger shape is seen as rows, its last dim, counted over all dims before.
// Each belongs to one row of the smaller tensor, which may serve many.
class RowBroadcast {
 public:
  // The smaller tensor is a single entry.
  RowBroadcast() = default;

  // Dims as checked by the caller; see CanBroadcast.
  RowBroadcast(const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank)
      : RowBroadcast(dims, rank, small_dims, small_rank, false) {}

  int64_t rows() const { return small_rows_ * repeats_; }
  int64_t columns() const { return columns_; }

  // 1, or 0 where the smaller tensor has one entry for all columns.
  int64_t column_stride() const { return column_stride_; }

  // Where the row's entries begin in the smaller tensor: the entry of column j is
  // the one at Offset(row) + j * column_stride().
  int64_t Offset(int64_t row) const;

  // The other way round, for what sums over a broadcast: each row of the smaller
  // tensor serves `repeats()` rows of the larger one.
  int64_t small_rows() const { return small_rows_; }
  int64_t small_columns() const { return column_stride_ == 0 ? 1 : columns_; }
  int64_t repeats() const { return repeats_; }

  // The k-th of the rows that small_row serves; its entries begin at
  // small_row * small_columns().
  int64_t Row(int64_t small_row, int64_t k) const;

 private:
  friend RowBroadcast ElementBroadcast(const int64_t*, int64_t, const int64_t*, int64_t);

  // `merges`: columns are all the last dims through which the smaller tensor is stepped alike.
  RowBroadcast(
      const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank,
      bool merges);

  struct Dim {
    int64_t size;
    int64_t stride;      // in entries of the smaller tensor; 0 where it repeats
    int64_t row_stride;  // in rows of the larger shape
  };

  std::vector<Dim> dims_;  // before the last, innermost first, neighbours merged
  int64_t columns_ = 1;
  int64_t column_stride_ = 0;
  int64_t small_rows_ = 1;
  int64_t repeats_ = 1;
};

// The same for what goes by elements, whose rows need not be those of the larger
// shape: its last dims are one where the smaller tensor is stepped alike through
// them, so that two equal shapes, and a single entry, are one row.
RowBroadcast ElementBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank);

// A mask whose dims are the leading ones of the larger shape, or 1: each of its entries covers
// all dims behind.
struct LeadingEntries {
  RowBroadcast at;  // on the larger shape without what an entry covers; its columns have a stride
  int64_t covered;  // elements behind each entry; 0 where the larger shape has none
};

// Dims as checked by the caller: mask_rank <= rank, each mask dim 1 or the larger shape's.
LeadingEntries LeadingBroadcast(
    const int64_t* dims, int64_t rank, const int64_t* mask_dims, int64_t mask_rank);

// How a sum over everything that a smaller tensor serves is shared out. The shapes
// alone say how, so that a sum is the same however many threads take units of it.
class BroadcastSum {
 public:
  // What one thread adds up at a time: the columns [column, column + columns) of
  // the rows that `small_row` serves as its repeats [repeat, repeat + repeats). It
  // makes one part of the sum, of each column or, where these have one entry, of all.
  struct Unit {
    int64_t small_row;
    int64_t column;
    int64_t columns;
    int64_t repeat;
    int64_t repeats;
    int64_t part;
  };

  // Where columns have sums of their own, a unit has at most this many.
  static constexpr int64_t kColumns = 512;

  // Units have so many elements, more or less.
  explicit BroadcastSum(const RowBroadcast& at, int64_t elements = int64_t{1} << 16);

  int64_t units() const { return units_; }
  int64_t parts() const { return parts_; }  // of each entry's sum
  int64_t unit_elements() const { return unit_columns_ * unit_repeats_; }
  Unit UnitAt(int64_t index) const;

 private:
  int64_t columns_;
  int64_t repeats_;
  int64_t unit_columns_;
  int64_t unit_repeats_;
  int64_t column_pieces_;
  int64_t repeat_pieces_;
  int64_t parts_;
  int64_t units_;
  bool by_column_;
};

// What the units of a BroadcastSum make: part p of the sum of entry e is data[p * entries + e].
struct SumParts {
  double* data;
  int64_t parts;
  int64_t entries;
};

// True where NumPy would broadcast the smaller shape to exactly the larger one.
bool CanBroadcast(const int64_t* dims, int64_t rank, const int64_t* small_dims, int64_t small_rank);

}  // namespace caffe2op_mask
