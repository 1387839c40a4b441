// SPDX-License-Identifier: MIT
// Matrices of any size, for code that compiles once for each number type. Eigen's are compiled anew, with all that they
// do about memory, into each place that copies, resizes or clears one.
#pragma once

#include <kalscan/kalman/linalg/eigen.hpp>  // first: says what to do where there is no Eigen

#include <algorithm>
#include <cstddef>
#include <kalscan/kalman/linalg/fixed.hpp>
#include <type_traits>
#include <utility>

namespace kalscan::detail {

/// A matrix that lies elsewhere, column by column: of Eigen, of fixed size or dynamic.
template <class T>
struct dense_view {
  const T* data;
  Eigen::Index rows, cols;

  dense_view(const T* data_, Eigen::Index rows_, Eigen::Index cols_) : data(data_), rows(rows_), cols(cols_) {}
  template <class X>
  dense_view(const Eigen::PlainObjectBase<X>& x) : data(x.data()), rows(x.rows()), cols(x.cols()) {
    static_assert(!X::IsRowMajor || X::IsVectorAtCompileTime);
  }

  const T* col(Eigen::Index j) const { return data + j * rows; }
  T operator()(Eigen::Index i, Eigen::Index j) const { return data[i + j * rows]; }
  T operator()(Eigen::Index i) const { return data[i]; }
};

// The scalar of these functions is that of their first argument; the others may be anything that is a view.
template <class T>
using view_of = const std::type_identity_t<dense_view<T>>&;

/// A matrix of its own, column by column; what is not set holds anything. A vector is a matrix of one column. It is a
/// view of itself, so that none has to be made where one is asked for.
template <class T>
class dense_matrix : public dense_view<T> {
 public:
  using Scalar = T;
  using view = dense_view<T>;

  dense_matrix() : view(nullptr, 0, 0) {}
  explicit dense_matrix(Eigen::Index rows, Eigen::Index cols = 1) : dense_matrix() { resize(rows, cols); }
  explicit dense_matrix(const view& x) : dense_matrix() { assign(x); }
  dense_matrix(const dense_matrix& x) : dense_matrix() { assign(x); }
  dense_matrix(dense_matrix&& x) noexcept : dense_matrix() { swap(x); }
  dense_matrix& operator=(const dense_matrix& x) {
    if (this != &x) assign(x);
    return *this;
  }
  dense_matrix& operator=(dense_matrix&& x) noexcept {
    swap(x);
    return *this;
  }
  [[gnu::noinline]] ~dense_matrix() { delete[] data(); }

  Eigen::Index rows() const { return view::rows; }
  Eigen::Index cols() const { return view::cols; }
  Eigen::Index size() const { return rows() * cols(); }
  T* data() { return const_cast<T*>(view::data); }  // of its own
  const T* data() const { return view::data; }
  T* col(Eigen::Index j) { return data() + j * rows(); }
  using view::col;
  T& operator()(Eigen::Index i, Eigen::Index j) { return data()[i + j * rows()]; }
  const T& operator()(Eigen::Index i, Eigen::Index j) const { return data()[i + j * rows()]; }
  T& operator()(Eigen::Index i) { return data()[i]; }
  const T& operator()(Eigen::Index i) const { return data()[i]; }

  void resize(Eigen::Index rows, Eigen::Index cols = 1) {
    if (rows * cols != size()) make_room(rows * cols);
    view::rows = rows;
    view::cols = cols;
  }
  [[gnu::noinline]] void swap(dense_matrix& x) noexcept {
    std::swap(view::data, x.view::data);
    std::swap(view::rows, x.view::rows);
    std::swap(view::cols, x.view::cols);
  }

 private:
  [[gnu::noinline]] void make_room(Eigen::Index size) {
    T* const room = new T[static_cast<std::size_t>(size)];
    delete[] data();
    view::data = room;
  }
  [[gnu::noinline]] void assign(const view& x) {
    resize(x.rows, x.cols);
    std::copy_n(x.data, size(), data());
  }
};
template <class T>
using dense_vector = dense_matrix<T>;
template <class T, class U>
struct column_of_rows<dense_matrix<T>, U> {
  using type = dense_vector<U>;
};

/// The same as a matrix of Eigen.
template <class Matrix>
Matrix to_eigen(const dense_view<typename Matrix::Scalar>& x) {
  Matrix y;
  y.resize(x.rows, x.cols);
  std::copy_n(x.data, x.rows * x.cols, y.data());
  return y;
}

}  // namespace kalscan::detail
