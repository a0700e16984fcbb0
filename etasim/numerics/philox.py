"""Random words that depend on a seed and an index only, so that no order or chunking of the work changes them.

Philox-2x32 with 10 rounds: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import numpy as np

from etasim.core.jit import kernel

ROUNDS = 10
_MULTIPLIER = np.uint64(0xD256D193)
_KEY_STEP = np.uint64(0x9E3779B9)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)


@kernel
def philox(low: np.uint64, high: np.uint64, key: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The two 32-bit words of counter (``low``, ``high``) under ``key``; everything uint64 below 2^32, so that products fit 64 bits."""
    for _ in range(ROUNDS):
        product = low * _MULTIPLIER
        low, high = (product >> _WORD_BITS) ^ key ^ high, product & _LOW_WORD
        key = (key + _KEY_STEP) & _LOW_WORD
    return low, high


@kernel
def random_word(seed: int, index: int) -> np.int64:
    """32 random bits, int64, for an index >= 0 and a seed in 0 ... 2^32 - 1, both int64."""
    counter = np.uint64(index)
    return np.int64(philox(counter & _LOW_WORD, counter >> _WORD_BITS, np.uint64(seed))[0])
