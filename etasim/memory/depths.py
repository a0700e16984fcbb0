"""Depths that the parts have by construction, for the parts and for the closed forms of their rates."""

WORDS_UNDER_WAY = 16
"""Words that a feeder, or a collector, has asked a buffer for and not yet seen."""
