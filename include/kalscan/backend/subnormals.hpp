// SPDX-License-Identifier: MIT
// How to do without subnormal numbers: x86 processors take a hundred times as long for them as for others.
#pragma once

#include <kalscan/support/config.hpp>

namespace kalscan::detail {

/// While it lives, results of this thread that would be subnormal are 0 (on x86, in vector registers; elsewhere nothing
/// changes). Numbers that are only read, compared or copied stay what they are.
class no_new_subnormals {
 public:
  no_new_subnormals(const no_new_subnormals&) = delete;
  no_new_subnormals& operator=(const no_new_subnormals&) = delete;
#if defined(__x86_64__) && defined(__SSE2__)
  no_new_subnormals() : before_(__builtin_ia32_stmxcsr() & flush_to_zero) {
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | flush_to_zero);
  }
  ~no_new_subnormals() { __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~flush_to_zero) | before_); }

 private:
  static constexpr unsigned flush_to_zero = 0x8000;
  unsigned before_;
#else
  no_new_subnormals() {}
  ~no_new_subnormals() {}
#endif
};

}  // namespace kalscan::detail
