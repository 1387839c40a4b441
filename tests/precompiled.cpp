// SPDX-License-Identifier: MIT
// Holds the precompiled header that the suites share.
