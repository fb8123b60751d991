// Per-target loads and stores of real elements, computed with in a vector of
// Wide<T>; to be included by kernels/*-inl.h.

#if defined(CAFFE2OP_MASK_KERNELS_REAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#undef CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#else
#define CAFFE2OP_MASK_KERNELS_REAL_INL_H_
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/real.h"

HWY_BEFORE_NAMESPACE();
namespace caffe2op_mask {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
constexpr int64_t LanesOf(D d) {
  return static_cast<int64_t>(hn::Lanes(d));
}

// As many 16-bit lanes as D has of 32.
template <class D>
using Half16 = hn::Rebind<uint16_t, D>;

// Which lanes, bits of a magnitude and so below 2^31, are above a limit.
template <class DU, class VU>
HWY_INLINE auto Above(DU du, VU magnitude, int32_t limit) {
  const hn::RebindToSigned<DU> di;
  return hn::RebindMask(du, hn::BitCast(di, magnitude) > hn::Set(di, limit));
}

template <class D>
HWY_INLINE hn::VFromD<D> Widen(D d, const Float16* /*type*/, hn::VFromD<Half16<D>> half) {
#if HWY_TARGET <= HWY_AVX2
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), half));
#else
  // The exponent moves from a bias of 15 to one of 127 by a product, which is exact
  // for subnormal numbers too; infinity and NaN get the exponent they had: all ones.
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::PromoteTo(du, half);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFF));
  const auto scaled =
      hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 5.192296858534828e33F));
  const auto special = hn::IfThenElseZero(Above(du, magnitude, 0x7BFF), hn::Set(du, 0x7F800000));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000)));
  return hn::Or(scaled, hn::BitCast(d, hn::Or(special, sign)));
#endif
}

template <class D>
HWY_INLINE hn::VFromD<D> Widen(D d, const BFloat16* /*type*/, hn::VFromD<Half16<D>> half) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
}

// The lower halves of 32-bit lanes.
template <class D, class VU>
HWY_INLINE hn::VFromD<Half16<D>> LowerHalves(D /*d*/, VU bits) {
#if HWY_TARGET <= HWY_AVX3
  return hn::VFromD<Half16<D>>{_mm512_cvtepi32_epi16(bits.raw)};
#else
  // Saturation needs signed lanes and changes none of 0 .. 65535.
  const hn::Rebind<int32_t, D> di;
  return hn::DemoteTo(
      Half16<D>(), hn::BitCast(di, hn::And(bits, hn::Set(hn::Rebind<uint32_t, D>(), 0xFFFF))));
#endif
}

template <class D>
HWY_INLINE hn::VFromD<Half16<D>> Narrow(
    [[maybe_unused]] D d, const Float16* /*type*/, hn::VFromD<D> v) {
#if HWY_TARGET <= HWY_AVX2
  return hn::BitCast(Half16<D>(), hn::DemoteTo(hn::Rebind<hwy::float16_t, D>(), v));
#else
  // Normal results round by adding half of what is cut off, less one where that
  // would break a tie to odd; subnormal ones by a sum whose last bit is theirs.
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto sign = hn::And(bits, hn::Set(du, 0x80000000u));
  const auto magnitude = hn::Xor(bits, sign);
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1));
  const auto normal = hn::ShiftRight<13>(hn::Add(
      hn::Sub(magnitude, hn::Set(du, (127u - 15u) << 23)), hn::Add(odd, hn::Set(du, 0xFFF))));
  const auto magic = hn::Set(d, 0.5F);
  const auto subnormal =
      hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), magic)), hn::BitCast(du, magic));
  const auto infinite = hn::Set(du, 0x7C00);
  const auto nan = hn::Set(du, 0x7E00);
  auto result = hn::IfThenElse(Above(du, magnitude, 0x387FFFFF), normal, subnormal);
  result = hn::IfThenElse(Above(du, magnitude, 0x477FFFFF), infinite, result);
  result = hn::IfThenElse(Above(du, magnitude, 0x7F800000), nan, result);
  return LowerHalves(d, hn::Or(result, hn::ShiftRight<16>(sign)));
#endif
}

template <class D>
HWY_INLINE hn::VFromD<Half16<D>> Narrow(D d, const BFloat16* /*type*/, hn::VFromD<D> v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF))));
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFF));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(du, 0x40));
  return LowerHalves(d, hn::IfThenElse(Above(du, magnitude, 0x7F800000), quiet, rounded));
}

// A vector of elements.
template <class D, typename T>
HWY_INLINE hn::VFromD<D> LoadReal(D d, const T* from) {
  if constexpr (std::is_same<T, hn::TFromD<D>>::value) {
    return hn::LoadU(d, from);
  } else {
    return Widen(d, from, hn::LoadU(Half16<D>(), reinterpret_cast<const uint16_t*>(from)));
  }
}

template <class D, typename T>
HWY_INLINE void StoreReal(D d, hn::VFromD<D> v, T* to) {
  if constexpr (std::is_same<T, hn::TFromD<D>>::value) {
    hn::StoreU(v, d, to);
  } else {
    hn::StoreU(Narrow(d, to, v), Half16<D>(), reinterpret_cast<uint16_t*>(to));
  }
}

// The first `count` < Lanes(d) elements, zeros behind; nothing behind is read.
template <class D, typename T>
HWY_INLINE hn::VFromD<D> LoadPart(D d, const T* from, int64_t count) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (std::is_same<T, hn::TFromD<D>>::value) {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
  }
#endif
  HWY_ALIGN T part[hn::MaxLanes(D())] = {};
  std::memcpy(part, from, static_cast<size_t>(count) * sizeof(T));
  return LoadReal(d, part);
}

// The first `count` < Lanes(d) of v; nothing behind is written.
template <class D, typename T>
HWY_INLINE void StorePart(D d, hn::VFromD<D> v, T* to, int64_t count) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (std::is_same<T, hn::TFromD<D>>::value) {
    hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, to);
    return;
  }
#endif
  HWY_ALIGN T part[hn::MaxLanes(D())];
  StoreReal(d, v, part);
  std::memcpy(to, part, static_cast<size_t>(count) * sizeof(T));
}

// The first `count` <= Lanes(d) elements.
template <class D, typename T>
HWY_INLINE hn::VFromD<D> LoadSome(D d, const T* from, int64_t count) {
  return count == LanesOf(d) ? LoadReal(d, from) : LoadPart(d, from, count);
}

template <class D, typename T>
HWY_INLINE void StoreSome(D d, hn::VFromD<D> v, T* to, int64_t count) {
  if (count == LanesOf(d)) {
    StoreReal(d, v, to);
  } else {
    StorePart(d, v, to, count);
  }
}

// Which of the first `count` <= Lanes(d) entries a mask keeps; nothing behind is read.
template <class D>
HWY_INLINE auto LoadKept(D d, const bool* mask, int64_t count) {
  using DB = hn::Rebind<uint8_t, D>;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(mask);
  hn::VFromD<DB> kept;
  if (count >= LanesOf(d)) {
    kept = hn::LoadU(DB(), bytes);
  } else {
    HWY_ALIGN uint8_t part[hn::MaxLanes(DB())] = {};
    std::memcpy(part, bytes, static_cast<size_t>(count));
    kept = hn::LoadU(DB(), part);
  }
  const hn::Rebind<uint32_t, D> du32;
  const auto wide = hn::PromoteTo(du32, kept);
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    return hn::RebindMask(d, hn::Ne(wide, hn::Zero(du32)));
  } else {
    const hn::RebindToUnsigned<D> du;
    return hn::RebindMask(d, hn::Ne(hn::PromoteTo(du, wide), hn::Zero(du)));
  }
}

// What lanes are kept as entries of a mask: bytes of 1 and 0.
template <class D, class M>
HWY_INLINE void StoreKept(D d, M kept, uint8_t* mask) {
  const hn::Rebind<int32_t, D> di32;
  const hn::Rebind<uint8_t, D> du8;
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    const auto ones = hn::IfThenElseZero(hn::RebindMask(di32, kept), hn::Set(di32, 1));
    hn::StoreU(hn::DemoteTo(du8, ones), du8, mask);
  } else {
    const auto ones = hn::IfThenElseZero(kept, hn::Set(d, hn::TFromD<D>{1}));
    hn::StoreU(hn::DemoteTo(du8, hn::DemoteTo(di32, ones)), du8, mask);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace caffe2op_mask
HWY_AFTER_NAMESPACE();

#endif  // per target
