// SPDX-License-Identifier: MIT
// How far two sides of a law may be apart. Host only; users meet these through <kalscan/laws.hpp>.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <kalscan/support/aggregate.hpp>
#include <kalscan/support/numbers.hpp>

namespace kalscan {

/// Measures how far `left` and `right` are apart (the defect) and says how far they may be (the bound). `operands` are
/// those values of the same type from which both were computed.
template <class Tolerance, class T>
concept tolerance_for = requires(const Tolerance& t, const T& x, std::span<const T* const> operands) {
  { t.bound } -> std::convertible_to<double>;
  { t.defect(x, x, operands) } -> std::convertible_to<double>;
};

namespace detail {

inline constexpr double infinite_defect = std::numeric_limits<double>::infinity();

struct sample {
  long double value;
  long double epsilon, smallest;  // of the number's type; zero for integers
};

template <class T>
std::vector<sample> samples(const T& x) {
  std::vector<sample> result;
  for_each_number(x, [&result](const auto& n) {
    using number_type = std::remove_cvref_t<decltype(n)>;
    using limits = std::numeric_limits<number_type>;
    if constexpr (std::is_floating_point_v<number_type>) {
      result.push_back({static_cast<long double>(n), static_cast<long double>(limits::epsilon()),
                        static_cast<long double>((limits::min)())});
    } else {
      result.push_back({static_cast<long double>(n), 0, 0});
    }
  });
  return result;
}

template <class T>
std::vector<std::vector<sample>> samples_by_field(const T& x) {
  std::vector<std::vector<sample>> result;
  for_each_field(x, [&result](const auto& field) { result.push_back(samples(field)); });
  return result;
}

/// max |left - right| over a field, in units of `scale`, or of its ulp.
inline double field_defect(const std::vector<sample>& left, const std::vector<sample>& right, long double scale,
                           bool in_ulps) {
  if (left.size() != right.size()) return infinite_defect;
  long double worst = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const auto [l, epsilon, smallest] = left[i];
    const long double r = right[i].value;
    if (equal(l, r) || (std::isnan(l) && std::isnan(r))) continue;
    if (equal(epsilon, 0)) return infinite_defect;
    const long double unit = (std::max)(scale, smallest) * (in_ulps ? epsilon : 1);
    const long double defect = std::abs(l - r) / unit;
    if (std::isnan(defect)) return infinite_defect;
    worst = (std::max)(worst, defect);
  }
  return static_cast<double>(worst);
}

inline long double largest_finite(const std::vector<sample>& field) {
  long double result = 0;
  for (const sample& s : field)
    if (std::isfinite(s.value)) result = (std::max)(result, std::abs(s.value));
  return result;
}

template <class T>
double relative_defect(const T& left, const T& right, std::span<const T* const> operands, bool in_ulps) {
  const auto l = samples_by_field(left), r = samples_by_field(right);
  std::vector<long double> scale(l.size(), 0);
  const auto widen = [&scale](const std::vector<std::vector<sample>>& fields) {
    for (std::size_t i = 0; i < (std::min)(scale.size(), fields.size()); ++i)
      scale[i] = (std::max)(scale[i], largest_finite(fields[i]));
  };
  widen(l);
  widen(r);
  for (const T* operand : operands) widen(samples_by_field(*operand));
  double worst = 0;
  for (std::size_t i = 0; i < l.size(); ++i) worst = (std::max)(worst, field_defect(l[i], r[i], scale[i], in_ulps));
  return worst;
}

/// Whether both have NaN in the same places and all other numbers equal: the same, though no operator says so.
template <class T>
bool same_with_nan([[maybe_unused]] const T& left, [[maybe_unused]] const T& right) {
  if constexpr (has_numbers<T>) {
    bool any_nan = false;
    for (const sample& s : samples(left)) any_nan = any_nan || std::isnan(s.value);
    return any_nan && equal(relative_defect<T>(left, right, {}, false), 0);
  } else {
    return false;
  }
}

struct exact_tolerance {
  static constexpr double bound = 0;
  template <class T>
  double defect(const T& left, const T& right, std::span<const T* const>) const {
    if constexpr (std::equality_comparable<T>) {
      return left == right || same_with_nan(left, right) ? 0 : infinite_defect;
    } else {
      return relative_defect<T>(left, right, {}, false) == 0 ? 0 : infinite_defect;
    }
  }
};

struct relative_tolerance {
  double bound;
  bool in_ulps;
  template <class T>
    requires has_numbers<T>
  double defect(const T& left, const T& right, std::span<const T* const> operands) const {
    return relative_defect(left, right, operands, in_ulps);
  }
};

struct scale_tolerance {
  double bound;
  template <class T>
    requires has_numbers<T>
  double defect(const T& left, const T& right, std::span<const T* const>) const {
    const auto l = samples(left), r = samples(right);
    const auto smaller = [](const sample& x, const sample& y) { return std::abs(x.value) < std::abs(y.value); };
    const auto largest = std::max_element(l.begin(), l.end(), smaller);
    if (l.size() != r.size()) return infinite_defect;
    if (l.empty()) return 0;
    const long double ls = largest->value, rs = r[static_cast<std::size_t>(largest - l.begin())].value;
    long double worst = 0;
    for (std::size_t i = 0; i < l.size(); ++i) {
      const long double difference = std::abs(l[i].value / ls - r[i].value / rs);
      if (!std::isfinite(difference)) return infinite_defect;
      worst = (std::max)(worst, difference);
    }
    return static_cast<double>(worst);
  }
};

template <class Defect>
struct custom_tolerance {
  double bound;
  Defect measure;
  template <class T>
    requires std::is_invocable_r_v<double, const Defect&, const T&, const T&>
  double defect(const T& left, const T& right, std::span<const T* const>) const {
    return measure(left, right);
  }
};

}  // namespace detail

/// Equal by operator== where there is one, else in every number.
inline constexpr detail::exact_tolerance exact{};

/// In every top-level field, max |left - right| is at most e times the largest magnitude that the field has on both
/// sides and in the operands. Equal infinities agree, NaN agrees with NaN alone, and integers must be equal.
constexpr detail::relative_tolerance relative(double e) { return {e, false}; }

/// As `relative`, with n times the machine epsilon of the field's type for e.
constexpr detail::relative_tolerance ulps(double n) { return {n, true}; }

/// All numbers together are equal up to a common factor, and e relative to the largest: for homogeneous coordinates.
constexpr detail::scale_tolerance up_to_scale(double e) { return {e}; }

/// A defect of one's own: `double defect(const T& left, const T& right)`, which must not exceed `bound`; NaN fails.
template <class Defect>
constexpr detail::custom_tolerance<Defect> within(double bound, Defect defect) {
  return {bound, std::move(defect)};
}

}  // namespace kalscan
