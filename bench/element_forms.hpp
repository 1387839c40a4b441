// SPDX-License-Identifier: MIT
// The forms in which a scalar Kalman filter can be scanned. Each has
//
//     name, short_name
//     beliefs(lane, scan)    the belief after every step, by scan(monoid, elements)
//
// The three Möbius forms are those of the Kalman Linear Attention paper (arXiv 2602.10743): the precision by a scan of
// Möbius maps, then the information vector by a scan of affine maps whose gains need the precisions.
#pragma once

#include <algorithm>
#include <cmath>
#include <kalscan/kalscan.hpp>
#include <vector>

namespace forms {

/// No scan: step after step, what all others are measured beside.
struct sequential {
  static constexpr const char *name = "sequential step", *short_name = "step";
  template <class Lane, class Scan>
  static auto beliefs(const Lane& x, Scan) {
    using T = decltype(x.a);
    std::vector<kalscan::belief<T>> all(x.observed.size());
    kalscan::scan_states(kalscan::seq{}, kalscan::scalar_filter<T>{x.a, x.p}, x.observed, all, to_moments(x.before));
    return all;
  }
};

template <class Filter, class Lane>
auto lifted(const Filter& filter, const Lane& x) {
  std::vector<decltype(filter.lift(x.observed[0]))> elements;
  for (const auto& u : x.observed) elements.push_back(filter.lift(u));
  return elements;
}

/// The library's choice.
struct filtering {
  static constexpr const char *name = "filtering element", *short_name = "filter";
  template <class Lane, class Scan>
  static auto beliefs(const Lane& x, Scan scan) {
    using T = decltype(x.a);
    std::vector<kalscan::belief<T>> all;
    const kalscan::scalar_filter<T> filter{x.a, x.p};
    for (const auto& e : scan(filter.monoid(), lifted(filter, x))) all.push_back(act(e, x.before));
    return all;
  }
};

/// The paper's map of precision and information vector together, rescaled by powers of two.
struct information {
  static constexpr const char *name = "information map", *short_name = "map";
  template <class Lane, class Scan>
  static auto beliefs(const Lane& x, Scan scan) {
    using T = decltype(x.a);
    std::vector<kalscan::belief<T>> all;
    const kalscan::information_filter<T> filter{x.a, x.p};
    for (const auto& e : scan(filter.monoid(), lifted(filter, x))) {
      all.push_back(to_moments(filter.act(e, to_homogeneous(x.before))));
    }
    return all;
  }
};

/// Given all precisions, the information vectors by a second scan; then both as moments.
template <class T, class Lane, class Scan>
std::vector<kalscan::belief<T>> with_vectors(const Lane& x, const std::vector<T>& precisions, Scan scan) {
  std::vector<kalscan::affine_map<T>> maps;
  T before = x.before.precision;
  for (std::size_t t = 0; t < precisions.size(); ++t) {
    maps.push_back({x.a / (x.a * x.a + x.p * before), x.observed[t].r});
    before = precisions[t];
  }
  const auto vectors = scan(kalscan::affine_monoid<T>{}, maps);
  std::vector<kalscan::belief<T>> all;
  for (std::size_t t = 0; t < precisions.size(); ++t) {
    const T vector = vectors[t].gain * x.before.vector + vectors[t].offset;
    all.push_back({vector / precisions[t], T(1) / precisions[t]});
  }
  return all;
}

/// Möbius maps divided by their trace after each product.
struct mobius_by_trace {
  static constexpr const char *name = "Möbius, trace", *short_name = "trace";
  template <class T>
  struct monoid {
    static kalscan::mobius_map<T> identity() { return {T(1), T(0), T(0), T(1)}; }
    kalscan::mobius_map<T> operator()(const kalscan::mobius_map<T>& x, const kalscan::mobius_map<T>& y) const {
      const kalscan::mobius_map<T> z{y.a * x.a + y.b * x.c, y.a * x.b + y.b * x.d, y.c * x.a + y.d * x.c,
                                     y.c * x.b + y.d * x.d};
      const T trace = z.a + z.d;
      return {z.a / trace, z.b / trace, z.c / trace, z.d / trace};
    }
  };
  template <class Lane, class Scan>
  static auto beliefs(const Lane& x, Scan scan) {
    using T = decltype(x.a);
    std::vector<T> precisions;
    const kalscan::mobius_filter<T> filter{x.a, x.p};
    for (const auto& e : scan(monoid<T>{}, lifted(filter, x))) precisions.push_back(e(x.before.precision));
    return with_vectors(x, precisions, scan);
  }
};

/// Möbius maps by the logarithms of their entries, which are not negative: products are sums, sums are log-sum-exp.
struct mobius_in_logs {
  static constexpr const char *name = "Möbius, logs", *short_name = "logs";
  template <class T>
  struct monoid {
    static kalscan::mobius_map<T> identity() { return {T(0), -INFINITY, -INFINITY, T(0)}; }
    kalscan::mobius_map<T> operator()(const kalscan::mobius_map<T>& x, const kalscan::mobius_map<T>& y) const {
      return {sum(y.a + x.a, y.b + x.c), sum(y.a + x.b, y.b + x.d), sum(y.c + x.a, y.d + x.c),
              sum(y.c + x.b, y.d + x.d)};
    }
  };
  /// log(e^x + e^y).
  template <class T>
  static T sum(T x, T y) {
    const T most = std::max(x, y), least = std::min(x, y);
    return most == -INFINITY ? most : most + std::log1p(std::exp(least - most));
  }
  template <class Lane, class Scan>
  static auto beliefs(const Lane& x, Scan scan) {
    using T = decltype(x.a);
    std::vector<kalscan::mobius_map<T>> elements;
    const T phi_free = std::log(x.a * x.a), noise = std::log(x.p);
    for (const auto& u : x.observed) {
      elements.push_back({std::log1p(x.p * u.phi), phi_free + std::log(u.phi), noise, phi_free});
    }
    std::vector<T> precisions;
    const T prior = std::log(x.before.precision);
    for (const auto& e : scan(monoid<T>{}, elements)) {
      precisions.push_back(std::exp(sum(e.a + prior, e.b) - sum(e.c + prior, e.d)));
    }
    return with_vectors(x, precisions, scan);
  }
};

}  // namespace forms
