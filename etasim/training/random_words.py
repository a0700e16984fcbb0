"""The random words of `etasim.numerics.philox` in torch: the same seed and index give the same word on every device."""

import torch

from etasim.numerics.philox import ROUNDS

_MULTIPLIER, _KEY_STEP, _LOW_WORD = 0xD256D193, 0x9E3779B9, 0xFFFFFFFF
_AT_ONCE = 2**16
"""Words whose intermediate results stay in a processor's cache."""


def random_words(seed: int, first_index: int, n_words: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Words ``first_index`` ... of ``seed`` (0 ... 2^32 - 1): int64 [n_words], each below 2^32."""
    words = torch.empty(n_words, dtype=torch.int64, device=device)
    for start in range(0, n_words, _AT_ONCE):
        stop = min(start + _AT_ONCE, n_words)
        words[start:stop] = _philox(seed, torch.arange(first_index + start, first_index + stop, device=device))
    return words


def _philox(key: int, index: torch.Tensor) -> torch.Tensor:
    """int64 products wrap at 64 bits, which leaves both of their 32-bit halves intact."""
    low, high = index & _LOW_WORD, index >> 32
    for _ in range(ROUNDS):
        product = low * _MULTIPLIER
        low = (product >> 32 & _LOW_WORD).bitwise_xor_(high).bitwise_xor_(key)
        high = product.bitwise_and_(_LOW_WORD)
        key = key + _KEY_STEP & _LOW_WORD
    return low
