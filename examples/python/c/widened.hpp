// SPDX-License-Identifier: MIT
// Arrays of 16-bit storage as float, for the CPU: its loops are vector code over floats, and converting as they go
// would compile all of them once more for each type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <kalscan/mixer/storage.hpp>
#include <vector>

#include "arrays.hpp"

namespace kalscan::c {

class widened {
 public:
  widened(const DLTensor* narrow, bool written) : narrow_(narrow), wide_(*narrow), written_(written) {
    numbers_.resize(static_cast<std::size_t>(size_of(*narrow)));
    wide_.data = numbers_.data();
    wide_.dtype = type_of<float>;
    wide_.strides = nullptr;
    wide_.byte_offset = 0;
    if (written) return;
    with_type([this](auto type) {
      using E = decltype(type);
      for_each_pair<const E, float>(*narrow_, wide_, [](const E* from, float* to) { *to = static_cast<float>(*from); });
    });
  }
  widened(const widened&) = delete;
  widened& operator=(const widened&) = delete;

  const DLTensor* array() const { return &wide_; }
  /// Rounds what was written.
  void finish() const {
    if (!written_) return;
    with_type([this](auto type) {
      using E = decltype(type);
      for_each_pair<E, const float>(*narrow_, wide_, [](E* to, const float* from) { *to = E(*from); });
    });
  }

 private:
  template <class F>
  void with_type(F f) const {
    if (same(narrow_->dtype, type_of<bfloat16>)) {
      f(bfloat16{});
    } else {
      f(float16{});
    }
  }

  const DLTensor* narrow_;
  DLTensor wide_;
  bool written_;
  std::vector<float> numbers_{};
};

}  // namespace kalscan::c
