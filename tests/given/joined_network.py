"""A network of maps that lie in each other."""

from small_networks import conv, layer, network

JOINED = network(
    (2, 4, 4),
    conv("stem", 3, **{"from": "input"}),
    layer("pool", "maxpool", kernel=3, stride=1, padding=1),
    layer("pool_of_input", "maxpool", "input", kernel=3, stride=1, padding=1),
    conv("branch", 4, **{"from": "pool"}),
    layer("inner", "concat", "pool", "branch"),
    conv("other", 2, **{"from": "stem"}),
    layer("outer", "concat", "inner", "other", "pool_of_input"),
    layer("again", "concat", "other", "stem"),
    layer("relu", "relu", "again"),
    conv("last", 11, **{"from": "relu"}),
    layer("sum", "add", "outer", "last"),
    layer("short", "shortcut", out_channels=12, stride=2),
    classes=3,
)
"""Nested concatenations; ``other`` lies in two of them, ``pool`` in two nested ones."""
