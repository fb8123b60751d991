// Kernels beside memcpy and beside plain loops, for every target of the machine.
//
//   kernels_benchmark --benchmark_filter='Compress/AVX2/.*'
//
// Names read Family/Target/parameters. bytes_per_second counts what must move:
// the mask and the rows kept are read, the output is written; where entries are
// masked, the lines they share with none that is kept need not be read. What computes
// tells flop/s instead, a product and a sum as two.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/boolean_mask.h"
#include "kernels/boolean_mask_lengths.h"
#include "kernels/boolean_unmask.h"
#include "kernels/chunk.h"
#include "kernels/gate.h"
#include "kernels/masked_attention.h"
#include "kernels/masked_fill.h"
#include "kernels/masked_softmax.h"
#include "kernels/mixture_gate.h"
#include "kernels/random_mask.h"
#include "kernels/sequence_mask.h"
#include "kernels/target.h"
#include "kernels/tile_product.h"

namespace caffe2op_mask {
namespace {

// As at::parallel_for does: one piece for each thread, as many threads as grains.
void OmpFor(int64_t begin, int64_t end, int64_t grain, RangeBody body) {
  const int64_t n = end - begin;
  const int64_t pieces = std::min<int64_t>(omp_get_max_threads(), (n + grain - 1) / grain);
  if (pieces <= 1) return SerialFor(begin, end, grain, body);
#pragma omp parallel num_threads(static_cast <int>(pieces))
  {
    const int64_t length = (n + pieces - 1) / pieces;
    const int64_t first = begin + omp_get_thread_num() * length;
    if (first < end) body(first, std::min(end, first + length));
  }
}

constexpr int64_t kInCache = int64_t{1} << 14;     // entries
constexpr int64_t kOutOfCache = int64_t{1} << 24;  // entries

struct FreeDeleter {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<uint8_t[], FreeDeleter>;

Memory Allocate(int64_t bytes) {
  const size_t rounded = (static_cast<size_t>(bytes) + 64) / 64 * 64;
  auto* const memory = static_cast<uint8_t*>(std::aligned_alloc(64, rounded));
  if (memory == nullptr) {
    std::fprintf(stderr, "kernels_benchmark needs %zu bytes that are not to be had.\n", rounded);
    std::exit(1);
  }
  std::memset(memory, 1, rounded);
  return Memory(memory);
}

// `percent` of entries True, in runs of `run` on average.
Memory MakeMask(int64_t n, double percent, int64_t run) {
  Memory mask = Allocate(n);
  std::mt19937_64 random(1);
  std::bernoulli_distribution keep(percent / 100);
  for (int64_t i = 0; i < n;) {
    const bool kept = keep(random);
    const int64_t end =
        std::min(n, i + std::uniform_int_distribution<int64_t>(1, 2 * run - 1)(random));
    for (; i < end; ++i) mask.get()[i] = kept;
  }
  return mask;
}

const bool* AsMask(const Memory& memory) {
  return reinterpret_cast<const bool*>(memory.get());
}

// Bytes of lines of 64 that hold a kept row.
int64_t BytesOfKeptLines(const bool* mask, int64_t n, int64_t row_bytes) {
  int64_t lines = 0;
  int64_t seen = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (!mask[i]) continue;
    const int64_t first = std::max(seen + 1, i * row_bytes / 64);
    const int64_t last = (i * row_bytes + row_bytes - 1) / 64;
    if (last >= first) lines += last - first + 1;
    seen = std::max(seen, last);
  }
  return lines * 64;
}

void SetBytes(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * bytes);
}

// ---- what everything is held against

void Memcpy(benchmark::State& state, int64_t bytes) {
  const Memory in = Allocate(bytes);
  const Memory out = Allocate(bytes);
  for (auto _ : state) {
    std::memcpy(out.get(), in.get(), static_cast<size_t>(bytes));
    benchmark::ClobberMemory();
  }
  SetBytes(state, 2 * bytes);
}

// The loop that a person would write first.
template <typename T>
void CompressLoop(benchmark::State& state, int64_t n, double percent, int64_t run) {
  const Memory mask = MakeMask(n, percent, run);
  const Memory in = Allocate(n * int64_t{sizeof(T)});
  const Memory out = Allocate(n * int64_t{sizeof(T)});
  const auto* const from = reinterpret_cast<const T*>(in.get());
  auto* const to = reinterpret_cast<T*>(out.get());
  int64_t kept = 0;
  for (auto _ : state) {
    kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (mask.get()[i] != 0) to[kept++] = from[i];
    }
    benchmark::ClobberMemory();
  }
  SetBytes(state, n + BytesOfKeptLines(AsMask(mask), n, sizeof(T)) + kept * int64_t{sizeof(T)});
}

// ---- kernels

void Compress(benchmark::State& state, int64_t n, int64_t row_bytes, double percent, int64_t run) {
  const Memory mask = MakeMask(n, percent, run);
  const Memory in = Allocate(n * row_bytes);
  const Memory out = Allocate(n * row_bytes);
  std::vector<int64_t> offsets(static_cast<size_t>(NumChunks(n)));
  int64_t kept = 0;
  for (auto _ : state) {
    kept = ChunkOffsets(AsMask(mask), n, offsets.data(), OmpFor);
    CompressRows(AsMask(mask), n, offsets.data(), row_bytes, in.get(), out.get(), OmpFor);
    benchmark::ClobberMemory();
  }
  SetBytes(state, n + BytesOfKeptLines(AsMask(mask), n, row_bytes) + kept * row_bytes);
}

// Two masks that share the positions, compact values.
void Unmask(benchmark::State& state, int64_t n, int64_t row_bytes, double percent, int64_t run) {
  const Memory first = MakeMask(n, percent, run);
  const Memory second = Allocate(n);
  const Memory values = Allocate(n * row_bytes);
  const Memory out = Allocate(n * row_bytes);
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    second.get()[i] = first.get()[i] == 0;
    kept += first.get()[i];
  }
  const auto chunks = static_cast<size_t>(NumChunks(n));
  std::vector<int64_t> offsets(2 * chunks);
  const void* const rows[] = {values.get(), values.get() + kept * row_bytes};
  for (auto _ : state) {
    MaskedRows masks[] = {
        {AsMask(first), false, offsets.data(), 0},
        {AsMask(second), false, offsets.data() + chunks, 0}};
    CountOwned(masks, 2, n, OmpFor);
    ExpandRows(masks, 2, n, row_bytes, rows, 0, out.get(), OmpFor);
    benchmark::ClobberMemory();
  }
  SetBytes(state, 2 * n + 2 * n * row_bytes);
}

void Lengths(benchmark::State& state, int64_t n, int64_t length) {
  const Memory mask = MakeMask(n, 50, 1);
  const std::vector<int32_t> lengths(static_cast<size_t>(n / length), static_cast<int32_t>(length));
  std::vector<int32_t> counts(lengths.size());
  const auto segments = static_cast<int64_t>(lengths.size());
  const int64_t entries = segments * length;
  SegmentTable table;
  for (auto _ : state) {
    SumLengths(lengths.data(), segments, &table, OmpFor);
    CountTrueInSegments(
        AsMask(mask), entries, lengths.data(), segments, table, counts.data(), nullptr, OmpFor);
    benchmark::ClobberMemory();
  }
  SetBytes(state, entries + 2 * segments * int64_t{sizeof(int32_t)});
}

// A causal triangle over matrices of `columns` x `columns`.
void Upper(benchmark::State& state, int64_t n, int64_t width, int64_t columns, bool in_place) {
  const int64_t rows = n / columns;
  const Memory in = Allocate(n * width);
  const Memory other = Allocate(in_place ? 0 : n * width);
  void* const out = in_place ? in.get() : other.get();
  const UpperFunctor functor{0, RowIndex{1, columns}};
  for (auto _ : state) {
    RepeatedMaskWithFunctor(rows, columns, 1, width, in.get(), functor, 0, out, OmpFor);
    benchmark::ClobberMemory();
  }
  const int64_t bytes = rows * columns * width;
  SetBytes(state, in_place ? bytes / 2 : bytes + bytes / 2);
}

void MaskedFillOf(benchmark::State& state, int64_t n, int64_t width, double percent, int64_t run) {
  const Memory mask = MakeMask(n, percent, run);
  const Memory in = Allocate(n * width);
  const Memory out = Allocate(n * width);
  const LeadingEntries entries = LeadingBroadcast(&n, 1, &n, 1);
  for (auto _ : state) {
    MaskedFill(AsMask(mask), entries, width, in.get(), 0, out.get(), OmpFor);
    benchmark::ClobberMemory();
  }
  SetBytes(state, n + 2 * n * width);
}

// ---- gates, of float

// Memory as the runtime aligns it, set so that none of it is mapped while time is taken.
AlignedBuffer<float> Zeros(int64_t n) {
  AlignedBuffer<float> buffer(n);
  std::fill_n(buffer.data(), n, 0.0F);
  return buffer;
}

AlignedBuffer<float> Logits(int64_t n) {
  AlignedBuffer<float> logits(n);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2);
  std::generate_n(logits.data(), n, [&] { return normal(random); });
  return logits;
}

struct GateKindOf {
  const char* name;
  GateKind kind;
};

constexpr GateKindOf kGateKinds[] = {
    {"sigmoid", GateKind::kSigmoid}, {"tanh", GateKind::kTanh},
    {"softmax", GateKind::kSoftmax}, {"relu", GateKind::kRelu},
    {"hard", GateKind::kHard},       {"hard_concrete", GateKind::kHardConcrete}};

// X of rows of `columns`, and Z of X's shape or with one entry for each row; with a
// carry it is a highway connection.
void GateOf(
    benchmark::State& state, GateKind kind, int64_t n, int64_t columns, bool of_rows, bool carry,
    bool gradient) {
  const int64_t dims[] = {n / columns, columns};
  const int64_t gate_dims[] = {n / columns, of_rows ? 1 : columns};
  GateFunction function;
  function.kind = kind;
  if (kind == GateKind::kHardConcrete) {
    function.beta = 2.0 / 3;
    function.gamma = -0.1;
    function.zeta = 1.1;
    function.noisy = true;
  }
  const int64_t gate_size = gate_dims[0] * gate_dims[1];
  const AlignedBuffer<float> x = Logits(n);
  const AlignedBuffer<float> z = Logits(gate_size);
  const float threshold = 0.5F;
  GateTensors tensors{};
  tensors.type = Real::kFloat32;
  tensors.size = n;
  tensors.gate_size = gate_size;
  tensors.columns = gate_dims[1];
  tensors.x = x.data();
  tensors.carry = carry ? x.data() : nullptr;
  tensors.z = z.data();
  tensors.threshold = kind == GateKind::kRelu ? &threshold : nullptr;
  tensors.threshold_size = 1;
  tensors.gate_at = ElementBroadcast(dims, 2, gate_dims, 2);
  tensors.threshold_at = ElementBroadcast(gate_dims, 2, nullptr, 0);
  const AlignedBuffer<float> y = Zeros(n), d_carry = Zeros(n), d_z = Zeros(gate_size);
  for (auto _ : state) {
    if (gradient) {
      const GateGradients gradients{x.data(),   nullptr, y.data(), carry ? d_carry.data() : nullptr,
                                    d_z.data(), nullptr};
      GateGradient(function, tensors, gradients, OmpFor);
    } else {
      Gate(function, tensors, y.data(), nullptr, OmpFor);
    }
    benchmark::ClobberMemory();
  }
  const int64_t of_x = (gradient ? 3 : 2) + (carry ? 1 : 0) + (carry && gradient ? 1 : 0);
  SetBytes(state, 4 * (of_x * n + (gradient ? 2 : 1) * tensors.gate_size));
}

void MixtureOf(
    benchmark::State& state, int64_t rows, int64_t experts, int64_t columns, int64_t top_k,
    bool gradient) {
  const int64_t size = rows * experts * columns;
  const AlignedBuffer<float> e = Logits(size), z = Logits(rows * experts);
  const AlignedBuffer<float> d_y = Logits(rows * columns), y = Zeros(rows * columns);
  const AlignedBuffer<float> d_e = Zeros(size), d_z = Zeros(rows * experts);
  const MixtureTensors tensors{Real::kFloat32, rows, experts, columns, e.data(), z.data(), top_k};
  for (auto _ : state) {
    if (gradient) {
      MixtureGateGradient(tensors, d_y.data(), nullptr, d_e.data(), d_z.data(), OmpFor);
    } else {
      MixtureGate(tensors, y.data(), nullptr, OmpFor);
    }
    benchmark::ClobberMemory();
  }
  const int64_t of_e = gradient ? top_k + experts : top_k;
  SetBytes(state, 4 * rows * (columns * (of_e + 1) + experts * (gradient ? 2 : 1)));
}

void BernoulliOf(benchmark::State& state, int64_t n) {
  const AlignedBuffer<float> z = Logits(n), log_prob = Zeros(n);
  const Memory mask = Allocate(n);
  for (auto _ : state) {
    BernoulliMask(
        Real::kFloat32, z.data(), n, {1, 1}, reinterpret_cast<bool*>(mask.get()), log_prob.data(),
        OmpFor);
    benchmark::ClobberMemory();
  }
  SetBytes(state, 9 * n);
}

// span 0: each entry by itself.
void RandomMaskOf(benchmark::State& state, int64_t n, int64_t span) {
  const Memory memory = Allocate(n);
  auto* const mask = reinterpret_cast<bool*>(memory.get());
  for (auto _ : state) {
    if (span == 0) {
      RandomMaskElements(0.15, n, {1, 1}, mask, OmpFor);
    } else {
      RandomMaskSpans(0.15, span, n / 1024, 1024, {1, 1}, mask, OmpFor);
    }
    benchmark::ClobberMemory();
  }
  SetBytes(state, n);
}

// Of n scores in rows of `columns`; a mask keeps half of them.
void MaskedSoftmaxOf(
    benchmark::State& state, Real type, int64_t n, int64_t columns, bool masked, bool gradient) {
  const int64_t dims[] = {n / columns, columns};
  const AlignedBuffer<float> numbers = Logits(n);
  const Memory x = Allocate(n * RealBytes(type)), y = Allocate(n * RealBytes(type));
  const Memory d_x = Allocate(n * RealBytes(type)), keep = MakeMask(n, 50, 1);
  if (type == Real::kBFloat16) {
    FromFloat(numbers.data(), n, reinterpret_cast<BFloat16*>(x.get()));
  } else {
    std::memcpy(x.get(), numbers.data(), static_cast<size_t>(n) * sizeof(float));
  }
  const Scores scores{type, dims[0], columns, x.get(), 1, nullptr, {}};
  ScoreMask mask;
  if (masked) mask.mask = AsMask(keep);
  mask.mask_rows = RowBroadcast(dims, 2, dims, 2);
  const auto forward = [&] {
    MaskedSoftmax(scores, mask, EmptyRow::kZero, SoftmaxForm::kPlain, y.get(), nullptr, OmpFor);
  };
  const SoftmaxOutputs outputs{SoftmaxForm::kPlain, y.get(), x.get()};
  forward();
  for (auto _ : state) {
    if (gradient) {
      MaskedSoftmaxGradient(scores, mask, outputs, d_x.get(), nullptr, OmpFor);
    } else {
      forward();
    }
    benchmark::ClobberMemory();
  }
  SetBytes(state, n * (RealBytes(type) * (gradient ? 4 : 2) + (masked ? 1 : 0)));
}

void SetFlops(benchmark::State& state, int64_t flops) {
  state.counters["flop/s"] =
      benchmark::Counter(static_cast<double>(flops), benchmark::Counter::kIsIterationInvariantRate);
}

// Attention's products of a tile with values of `columns` entries, by one thread.
void TileProductOf(benchmark::State& state, int64_t rows, int64_t columns, int64_t terms) {
  const std::vector<float> a(static_cast<size_t>(rows * terms), 1);
  const std::vector<float> b(static_cast<size_t>(terms * columns), 1);
  std::vector<float> c(static_cast<size_t>(rows * columns));
  for (auto _ : state) {
    TileProduct(
        Real::kFloat32, rows, columns, terms, 1, {a.data(), terms, 1}, b.data(), columns, false,
        c.data(), columns);
    benchmark::ClobberMemory();
  }
  SetFlops(state, 2 * rows * columns * terms);
}

// Its scores: keys are packed for each tile.
void PackedProductOf(benchmark::State& state, int64_t rows, int64_t columns, int64_t terms) {
  const std::vector<float> a(static_cast<size_t>(rows * terms), 1);
  const std::vector<float> keys(static_cast<size_t>(columns * terms), 1);
  std::vector<float> packed(static_cast<size_t>(PackedSize(columns, terms)));
  std::vector<float> c(static_cast<size_t>(rows * columns));
  for (auto _ : state) {
    PackTransposed(Real::kFloat32, keys.data(), terms, columns, terms, packed.data());
    PackedProduct(
        Real::kFloat32, rows, columns, terms, 1, a.data(), packed.data(), c.data(), columns);
    benchmark::ClobberMemory();
  }
  SetFlops(state, 2 * rows * columns * terms);
}

// Attention of two batches, 4 heads and 512 queries and keys of 64 entries by one thread. What is
// masked counts as no flop.
void AttentionOver(benchmark::State& state, Real type, const std::string& kept, bool gradient) {
  constexpr int64_t kBatch = 2;
  constexpr int64_t kHeads = 4;
  constexpr int64_t kLength = 512;
  constexpr int64_t kDepth = 64;
  constexpr int64_t kRows = kBatch * kHeads * kLength;
  const int64_t lengths[kBatch] = {kLength / 4, kLength / 2};
  constexpr RowStrides kRowsAt{kHeads * kLength * kDepth, kLength * kDepth, kDepth};
  constexpr RowStrides kEntriesAt{kHeads * kLength, kLength, 1};
  Attention attention{type,   kBatch,  kHeads, kHeads,  kLength, kLength,
                      kDepth, kDepth,  {},     {},      {},      0.125,
                      0,      nullptr, {},     nullptr, {},      EmptyRow::kZero};
  IntersectionFunctor& shape = attention.mask.shape;
  if (kept == "causal") shape.Add(UpperFunctor{0, RowPosition{{1, kLength}}});
  if (kept == "padded") shape.Add(SequenceFunctor<int64_t>{lengths, {kHeads * kLength}});
  int64_t pairs = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    const Interval columns = shape(row, kLength);
    pairs += columns.end - columns.begin;
  }
  std::vector<Memory> tensors;
  for (int i = 0; i < 8; ++i) {
    const int64_t bytes = kRows * kDepth * RealBytes(type);
    tensors.push_back(Allocate(bytes));
    std::memset(tensors.back().get(), 0x3C, static_cast<size_t>(bytes));  // 0.0115 of both types
  }
  const auto tensor = [&](size_t i) { return tensors[i].get(); };
  attention.q = {tensor(0), kRowsAt};
  attention.k = {tensor(1), kRowsAt};
  attention.v = {tensor(2), kRowsAt};
  std::vector<float> sums(static_cast<size_t>(kRows));
  const OutputRows o{tensor(3), kRowsAt};
  const OutputRows lse{sums.data(), kEntriesAt};
  MaskedAttention(attention, o, lse, 1, SerialFor);
  const AttentionOutputs outputs{
      {o.data, kRowsAt}, {lse.data, kEntriesAt}, {tensor(4), kRowsAt}, {}};
  const AttentionGradient gradients{
      {tensor(5), kRowsAt}, {tensor(6), kRowsAt}, {tensor(7), kRowsAt}, nullptr, nullptr};
  for (auto _ : state) {
    if (gradient) {
      MaskedAttentionGradient(attention, outputs, gradients, 1, SerialFor);
    } else {
      MaskedAttention(attention, o, lse, 1, SerialFor);
    }
    benchmark::ClobberMemory();
  }
  SetFlops(state, (gradient ? 10 : 4) * pairs * kDepth);
}

// Names tell what is gated and drawn, and by what.
template <class RegisterOne>
void RegisterGates(int64_t n, const RegisterOne& add) {
  const std::string entries = "/entries:" + std::to_string(n);
  for (const bool gradient : {false, true}) {
    const std::string suffix = gradient ? "Gradient" : "";
    for (const GateKindOf& one : kGateKinds) {
      add("Gate" + suffix, entries + "/kind:" + one.name,
          [=](auto& s) { GateOf(s, one.kind, n, 1024, false, false, gradient); });
    }
    add("GateOfRows" + suffix, entries + "/kind:sigmoid",
        [=](auto& s) { GateOf(s, GateKind::kSigmoid, n, 1024, true, false, gradient); });
    add("Highway" + suffix, entries + "/kind:sigmoid",
        [=](auto& s) { GateOf(s, GateKind::kSigmoid, n, 1024, false, true, gradient); });
    for (const int64_t top_k : {8, 2}) {
      add("MixtureGate" + suffix, entries + "/experts:8/top_k:" + std::to_string(top_k),
          [=](auto& s) { MixtureOf(s, n / 8 / 256, 8, 256, top_k, gradient); });
    }
  }
  add("BernoulliMask", entries, [=](auto& s) { BernoulliOf(s, n); });
  for (const int64_t span : {0, 10}) {
    add("RandomMask", entries + "/span:" + std::to_string(span),
        [=](auto& s) { RandomMaskOf(s, n, span); });
  }
}

template <class RegisterOne>
void RegisterSoftmax(int64_t n, const RegisterOne& add) {
  const std::string entries = "/entries:" + std::to_string(n);
  for (const Real type : {Real::kFloat32, Real::kBFloat16}) {
    const std::string of_type = type == Real::kFloat32 ? "/type:float32" : "/type:bfloat16";
    for (const int64_t columns : {128, 2048}) {
      const std::string rest = entries + of_type + "/columns:" + std::to_string(columns);
      for (const bool masked : {false, true}) {
        for (const bool gradient : {false, true}) {
          add(gradient ? "MaskedSoftmaxGradient" : "MaskedSoftmax",
              rest + (masked ? "/kept:50%" : "/kept:100%"),
              [=](auto& s) { MaskedSoftmaxOf(s, type, n, columns, masked, gradient); });
        }
      }
    }
  }
}

std::string Percent(double percent) {
  std::string text = std::to_string(percent);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + "%";
}

// Registers a benchmark that forces `target` (null: no kernel in it) and then runs f.
template <class F>
void Register(const std::string& name, const char* target, F f) {
  benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
    if (target != nullptr && (!ForceTarget(target) || std::strcmp(TargetName(), target) != 0)) {
      state.SkipWithError("the target does not run");
      return;
    }
    f(state);
    ForceTarget(nullptr);
  })->UseRealTime();
}

void RegisterAll() {
  for (const int64_t n : {kInCache, kOutOfCache}) {
    const std::string entries = "/entries:" + std::to_string(n);
    Register("Memcpy/-" + entries + "/bytes:4", nullptr, [=](auto& s) { Memcpy(s, n * 4); });
    for (const double percent : {1.0, 50.0, 99.0}) {
      Register(
          "CompressLoop/-" + entries + "/bytes:4/kept:" + Percent(percent), nullptr,
          [=](auto& s) { CompressLoop<uint32_t>(s, n, percent, 1); });
    }
  }
  for (const char* const target : TargetNames()) {
    const std::string on = std::string("/") + target;
    for (const int64_t depth : {32, 64, 128}) {
      const std::string tile = on + "/rows:64/keys:256/depth:" + std::to_string(depth);
      Register("TileProduct" + tile, target, [=](auto& s) { TileProductOf(s, 64, depth, 256); });
      Register(
          "PackedProduct" + tile, target, [=](auto& s) { PackedProductOf(s, 64, 256, depth); });
    }
    for (const Real type : {Real::kFloat32, Real::kBFloat16}) {
      for (const std::string kept : {"dense", "causal", "padded"}) {
        const std::string rest = on + (type == Real::kFloat32 ? "/float32/" : "/bfloat16/") + kept;
        for (const bool gradient : {false, true}) {
          Register(
              (gradient ? "MaskedAttentionGradient" : "MaskedAttention") + rest, target,
              [=](auto& s) { AttentionOver(s, type, kept, gradient); });
        }
      }
    }
    for (const int64_t n : {kInCache, kOutOfCache}) {
      const std::string entries = "/entries:" + std::to_string(n);
      for (const int64_t width : {1, 2, 4, 8, 16}) {
        const std::string bytes = entries + "/bytes:" + std::to_string(width);
        for (const double percent : {0.1, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9}) {
          for (const int64_t run : {1, 32}) {
            const std::string rest =
                bytes + "/kept:" + Percent(percent) + "/run:" + std::to_string(run);
            Register("Compress" + on + rest, target, [=](auto& s) {
              Compress(s, n, width, percent, run);
            });
          }
        }
        for (const double percent : {1.0, 50.0, 99.0}) {
          const std::string rest = bytes + "/kept:" + Percent(percent);
          Register("Unmask" + on + rest, target, [=](auto& s) { Unmask(s, n, width, percent, 1); });
          if (width <= 8) {
            Register("MaskedFill" + on + rest, target, [=](auto& s) {
              MaskedFillOf(s, n, width, percent, 1);
            });
          }
        }
        if (width > 8) continue;
        for (const int64_t columns : {64, 512}) {
          const std::string rest = bytes + "/columns:" + std::to_string(columns);
          Register(
              "Upper" + on + rest, target, [=](auto& s) { Upper(s, n, width, columns, false); });
          Register("UpperInPlace" + on + rest, target, [=](auto& s) {
            Upper(s, n, width, columns, true);
          });
        }
      }
      const auto add = [&](const std::string& family, const std::string& rest, auto f) {
        Register(family + on + rest, target, f);
      };
      RegisterGates(n, add);
      RegisterSoftmax(n, add);
      for (const int64_t length : {1, 16, 100, 10000}) {
        Register(
            "Lengths" + on + entries + "/length:" + std::to_string(length), target,
            [=](auto& s) { Lengths(s, n, length); });
      }
      for (const int64_t row : {12, 64, 2048}) {
        const int64_t rows = n * 4 / row;
        Register(
            "CompressRows" + on + "/rows:" + std::to_string(rows) +
                "/bytes:" + std::to_string(row) + "/kept:50%",
            target, [=](auto& s) { Compress(s, rows, row, 50, 1); });
      }
    }
  }
}

}  // namespace
}  // namespace caffe2op_mask

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("best target", caffe2op_mask::TargetName());
  benchmark::AddCustomContext("compiler", __VERSION__);
  caffe2op_mask::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
