# SPDX-License-Identifier: MIT
"""kalscan for torch: operators with gradients (ops), and layers (layers) with the conventions of the KLA authors'
package: a model written for it runs with `from kalscan.torch import KLAConfig, KLALayer` in place of `from kla import
...`."""

from ..mixers import Hidden, Information, Moments
from .layers import KLAConfig, KLALayer, KLALayerState, RotatingKLALayer
from .ops import KLAState, gla, init_state, kla, kla_scan, kla_step, rotating_kla

__all__ = [
    "Hidden",
    "Information",
    "KLAConfig",
    "KLALayer",
    "KLALayerState",
    "KLAState",
    "Moments",
    "RotatingKLALayer",
    "gla",
    "init_state",
    "kla",
    "kla_scan",
    "kla_step",
    "rotating_kla",
]
