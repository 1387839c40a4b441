# SPDX-License-Identifier: MIT
"""kalscan: Kalman Linear Attention, and Kalman filters and smoothers, parallel over time and exact.

kla, rotating_kla, gla              sequence mixers over arrays of any framework (kalscan.mixers)
filter, smooth, log_likelihood      of linear-Gaussian models (kalscan.kalman)
kalscan.torch                       operators with gradients, and layers; imported by name, for it imports torch"""

from ._library import DeviceError, Error, FilterError, NotBuilt
from .kalman import Beliefs, Filtered, Model, Prior, Smoothed, filter, log_likelihood, smooth
from .mixers import Gradients, Hidden, Information, Mixer, Moments, Outputs, gla, kla, rotating_kla

__version__ = "0.1.0"
__all__ = [
    "Beliefs",
    "DeviceError",
    "Error",
    "FilterError",
    "Filtered",
    "Gradients",
    "Hidden",
    "Information",
    "Mixer",
    "Model",
    "Moments",
    "NotBuilt",
    "Outputs",
    "Prior",
    "Smoothed",
    "filter",
    "gla",
    "kla",
    "log_likelihood",
    "rotating_kla",
    "smooth",
]
