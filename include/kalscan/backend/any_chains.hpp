// SPDX-License-Identifier: MIT
// Policies and chains called through pointers, so that what runs them compiles once, not for every sweep.
#pragma once

#include <cstdint>
#include <utility>

#include <kalscan/backend/contract.hpp>
#include <kalscan/backend/time_split.hpp>

namespace kalscan {
namespace detail {

/// Any policy that runs tasks. Holds a reference: the policy must outlive it.
class any_tasks {
 public:
  template <task_policy P>
  explicit any_tasks(const P& p)
      : policy_(&p),
        run_([](const void* policy, std::int64_t count, task_ref task) {
          run_tasks(*static_cast<const P*>(policy), count, task);
        }),
        workers_(worker_count(p)),
        chunk_(chunk_length(p)) {}

  friend int worker_count(const any_tasks& p) { return p.workers_; }
  friend std::int64_t chunk_length(const any_tasks& p) { return p.chunk_; }
  friend void run_tasks(const any_tasks& p, std::int64_t count, task_ref task) { p.run_(p.policy_, count, task); }

 private:
  const void* policy_;
  void (*run_)(const void*, std::int64_t, task_ref);
  int workers_;
  std::int64_t chunk_;
};

/// A value of any type, or none. Does for chains what std::any does, which takes far longer to compile. `Copied`: the value
/// can be copied, too.
template <bool Copied>
class any_value {
 public:
  any_value() = default;
  template <class X>
  static any_value of(X x) {
    any_value made;
    made.value_ = new X(std::move(x));
    made.calls_ = &calls_of<X>;
    return made;
  }
  any_value(const any_value& x)
    requires Copied
      : value_(x.value_ ? x.calls_->copy(x.value_) : nullptr), calls_(x.calls_) {}
  any_value(any_value&& x) noexcept : value_(std::exchange(x.value_, nullptr)), calls_(x.calls_) {}
  any_value& operator=(const any_value&) = delete;
  any_value& operator=(any_value&& x) noexcept {
    std::swap(value_, x.value_), std::swap(calls_, x.calls_);
    return *this;
  }
  ~any_value() {
    if (value_) calls_->destroy(value_);
  }

  static constexpr bool may_be_none = true;  // what follows is as in std::optional
  explicit operator bool() const { return value_ != nullptr; }
  any_value& operator*() { return *this; }
  const any_value& operator*() const { return *this; }
  void emplace(any_value x) { *this = std::move(x); }

  /// The value, which is an X.
  template <class X>
  X& as() {
    return *static_cast<X*>(value_);
  }
  template <class X>
  const X& as() const {
    return *static_cast<const X*>(value_);
  }

 private:
  struct calls {
    void (*destroy)(void*);
    void* (*copy)(const void*);
  };
  template <class X>
  static void destroy(void* x) {
    delete static_cast<X*>(x);
  }
  template <class X>
  static void* copy(const void* x) {
    if constexpr (Copied) {
      return new X(*static_cast<const X*>(x));
    } else {
      return nullptr;  // never called
    }
  }
  template <class X>
  static constexpr calls calls_of{destroy<X>, copy<X>};

  void* value_ = nullptr;
  const calls* calls_ = nullptr;
};

/// Any chains that are `piecewise`. Holds a reference: they must outlive it. Its states and elements hold
/// theirs.
template <bool HasOutputs>
class any_chains {
 public:
  static constexpr bool has_outputs = HasOutputs;
  using any_state = any_value<true>;
  using any_element = any_value<false>;

  template <piecewise C>
    requires(C::has_outputs == HasOutputs)
  explicit any_chains(const C& c) : chains_(&c), calls_(&calls_of<C>) {}

  std::int64_t chains() const { return calls_->chains(chains_); }
  std::int64_t pieces(std::int64_t i) const { return calls_->pieces(chains_, i); }
  any_state start(std::int64_t i) const { return calls_->start(chains_, i); }
  void replay(std::int64_t i, std::int64_t k, any_state& x) const { calls_->replay(chains_, i, k, x); }
  any_element absorb(std::int64_t i, std::int64_t k) const { return calls_->absorb(chains_, i, k); }
  any_state act(std::int64_t i, std::int64_t k, const any_element& element, const any_state& before) const {
    return calls_->act(chains_, i, k, element, before);
  }
  void finish(std::int64_t i, const any_state& x) const { calls_->finish(chains_, i, x); }

 private:
  struct calls {
    std::int64_t (*chains)(const void*);
    std::int64_t (*pieces)(const void*, std::int64_t);
    any_state (*start)(const void*, std::int64_t);
    void (*replay)(const void*, std::int64_t, std::int64_t, any_state&);
    any_element (*absorb)(const void*, std::int64_t, std::int64_t);
    any_state (*act)(const void*, std::int64_t, std::int64_t, const any_element&, const any_state&);
    void (*finish)(const void*, std::int64_t, const any_state&);
  };

  template <class C>
  struct caller {
    using state = chain_state_t<const C>;
    using element = chain_element_t<const C>;

    static const C& of(const void* c) { return *static_cast<const C*>(c); }
    static std::int64_t chains(const void* c) { return of(c).chains(); }
    static std::int64_t pieces(const void* c, std::int64_t i) { return of(c).pieces(i); }
    static any_state start(const void* c, std::int64_t i) { return any_state::of(of(c).start(i)); }
    static void replay(const void* c, std::int64_t i, std::int64_t k, any_state& x) {
      of(c).replay(i, k, x.as<state>());
    }
    static any_element absorb(const void* c, std::int64_t i, std::int64_t k) {
      return any_element::of(of(c).absorb(i, k));
    }
    static any_state act(const void* c, std::int64_t i, std::int64_t k, const any_element& x, const any_state& before) {
      auto after = of(c).act(i, k, x.as<element>(), before.as<state>());
      return after ? any_state::of(std::move(*after)) : any_state();
    }
    static void finish(const void* c, std::int64_t i, const any_state& x) { of(c).finish(i, x.as<state>()); }
  };
  template <class C>
  static constexpr calls calls_of{caller<C>::chains, caller<C>::pieces, caller<C>::start, caller<C>::replay,
                                  caller<C>::absorb, caller<C>::act,    caller<C>::finish};

  const void* chains_;
  const calls* calls_;
};

}  // namespace detail

template <>
inline constexpr bool is_policy<detail::any_tasks> = true;

}  // namespace kalscan
