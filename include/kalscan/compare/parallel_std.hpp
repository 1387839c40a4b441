// SPDX-License-Identifier: MIT
// std::inclusive_scan with std::execution::par, for kalscan::compare. With libstdc++ it runs on TBB: link that.
#pragma once

#include <execution>
#include <kalscan/compare/back_end.hpp>
#include <numeric>
#include <string>
#include <vector>

namespace kalscan {

/// For `more` of kalscan::compare: one back end.
template <monoid M>
[[nodiscard]] std::vector<back_end<M>> parallel_std_back_ends() {
  const auto scan = [](const scan_call<M>& c) {
    std::inclusive_scan(std::execution::par, c.in.begin(), c.in.end(), c.out.begin(), c.op, c.initial);
  };
  return {{"std::execution::par", scan}};
}

}  // namespace kalscan
