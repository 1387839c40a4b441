// SPDX-License-Identifier: MIT
// DLPack arrays as the library's tensors: types, axes, strides, and what is wrong with them.
#pragma once

#include <dlpack/dlpack.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/storage.hpp>
#include <kalscan/mixer/tensor.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace kalscan::c {

/// What the library was not built for; any other fault of the arguments is a std::invalid_argument.
struct not_built : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void bad(const std::string& what) { throw std::invalid_argument("kalscan: " + what); }

template <class E>
inline constexpr DLDataType type_of = {kDLFloat, 8 * sizeof(E), 1};
template <>
inline constexpr DLDataType type_of<bfloat16> = {kDLBfloat, 16, 1};
template <>
inline constexpr DLDataType type_of<float16> = {kDLFloat, 16, 1};
template <>
inline constexpr DLDataType type_of<std::int64_t> = {kDLInt, 64, 1};

inline bool same(const DLDataType& x, const DLDataType& y) {
  return x.code == y.code && x.bits == y.bits && x.lanes == y.lanes;
}
inline std::string name_of(const DLDataType& type) {
  const char* codes[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
  const std::string other = "type " + std::to_string(type.code) + " of ";
  const std::string kind = type.code < std::size(codes) ? codes[type.code] : other;
  return kind + std::to_string(type.bits) + (type.lanes == 1 ? "" : " x " + std::to_string(type.lanes));
}

inline std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}
inline std::span<const std::int64_t> shape_of(const DLTensor& x) { return {x.shape, static_cast<std::size_t>(x.ndim)}; }

inline std::int64_t size_of(const DLTensor& x) {
  std::int64_t size = 1;
  for (const std::int64_t extent : shape_of(x)) size *= extent;
  return size;
}
/// Elements from one to the next along an axis.
inline std::int64_t stride_of(const DLTensor& x, std::size_t axis) {
  if (x.strides != nullptr) return x.strides[axis];
  std::int64_t stride = 1;
  for (std::size_t i = axis + 1; i < static_cast<std::size_t>(x.ndim); ++i) stride *= x.shape[i];
  return stride;
}

template <class E>
void require_type(const std::string& name, const DLTensor& x) {
  if (!same(x.dtype, type_of<std::remove_const_t<E>>))
    bad(name + " is " + name_of(x.dtype) + ", not " + name_of(type_of<std::remove_const_t<E>>));
}
inline void require_axes(const std::string& name, const DLTensor& x, std::size_t count, const char* axes) {
  if (x.ndim >= 0 && static_cast<std::size_t>(x.ndim) == count) return;
  bad(name + " has the shape " + shape_text(shape_of(x)) + ", not " + axes);
}
inline void require_shape(const std::string& name, const DLTensor& x, std::span<const std::int64_t> wanted) {
  bool fits = static_cast<std::size_t>(x.ndim) == wanted.size();
  for (std::size_t i = 0; fits && i < wanted.size(); ++i) fits = x.shape[i] == wanted[i];
  if (!fits) bad(name + " has the shape " + shape_text(shape_of(x)) + ", not " + shape_text(wanted));
}
/// What is written has an element of its own for each index.
inline void require_own_elements(const std::string& name, const DLTensor& x) {
  if (size_of(x) == 0) return;
  for (std::size_t i = 0; i < static_cast<std::size_t>(x.ndim); ++i) {
    if (x.shape[i] > 1 && stride_of(x, i) == 0)
      bad(name + " repeats its elements along axis " + std::to_string(i) + ": what is written needs memory of its own");
  }
}

/// Whether it lies in memory that the CPU reads and writes.
inline bool on_host(const DLTensor& x) {
  return x.device.device_type == kDLCPU || x.device.device_type == kDLCUDAHost;
}

template <class E>
E* data_of(const DLTensor& x) {
  return reinterpret_cast<E*>(static_cast<std::byte*>(x.data) + x.byte_offset);
}

/// The array as a view [batch, time, channel, state] whose axes are named by `axes`; those that it lacks have extent 1.
/// With `component` >= 0 a last axis of `components` numbers follows, and the view is of that one.
template <class E, std::size_t N>
tensor<E> view(const std::string& name, const DLTensor* x, const std::array<std::size_t, N>& axes,
               const char* axes_text, std::int64_t component = -1, std::int64_t components = 0) {
  if (x == nullptr) return {};
  require_type<E>(name, *x);
  require_axes(name, *x, N + (component >= 0 ? 1 : 0), axes_text);
  if (component >= 0 && x->shape[N] != components)
    bad(name + " has the shape " + shape_text(shape_of(*x)) + ", not " + axes_text);
  std::array<std::int64_t, 4> extent{1, 1, 1, 1}, stride{};
  for (std::size_t i = 0; i < N; ++i) extent[axes[i]] = x->shape[i], stride[axes[i]] = stride_of(*x, i);
  E* const data = data_of<E>(*x);
  return {data == nullptr || component < 0 ? data : data + component * stride_of(*x, N), extent, stride};
}

/// The boundaries of packed sequences, or none.
inline std::span<const std::int64_t> offsets_of(const DLTensor* x) {
  if (x == nullptr) return {};
  require_type<std::int64_t>("offsets", *x);
  require_axes("offsets", *x, 1, "[N + 1]");
  if (!on_host(*x)) bad("offsets are to lie in the memory of the CPU");
  if (x->shape[0] == 0) bad("offsets are empty: give N + 1 of them for N sequences");
  if (x->shape[0] > 1 && stride_of(*x, 0) != 1) bad("offsets have a stride of " + std::to_string(stride_of(*x, 0)));
  return {data_of<const std::int64_t>(*x), static_cast<std::size_t>(x->shape[0])};
}

/// Calls f(pointer to x's element, pointer to y's element) for all indices of two arrays of one shape, in memory's
/// order of the first.
template <class X, class Y, class F>
void for_each_pair(const DLTensor& x, const DLTensor& y, F f, std::size_t axis, X* px, Y* py) {
  if (axis == static_cast<std::size_t>(x.ndim)) return f(px, py);
  for (std::int64_t i = 0; i < x.shape[axis]; ++i)
    for_each_pair(x, y, f, axis + 1, px + i * stride_of(x, axis), py + i * stride_of(y, axis));
}
template <class X, class Y, class F>
void for_each_pair(const DLTensor& x, const DLTensor& y, F f) {
  for_each_pair(x, y, f, 0, data_of<X>(x), data_of<Y>(y));
}

}  // namespace kalscan::c
