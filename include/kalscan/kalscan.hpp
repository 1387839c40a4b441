// SPDX-License-Identifier: MIT
// Everything that runs on the host. The matrix Kalman filter and smoother come with it where Eigen is found.
#pragma once

#include <kalscan/backend/omp.hpp>
#include <kalscan/backend/seq.hpp>
#include <kalscan/monoid.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/recurrence.hpp>
#include <kalscan/scan.hpp>
