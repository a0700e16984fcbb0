"""Damage to a file: flipped bytes, cut and doubled pieces, lines in another order, huge numbers and names, another kind of content."""

import gzip
import re
from collections.abc import Callable

from .choices import Seeded

Damage = Callable[[Seeded, bytes], bytes]
FLIP = "flip"


def _flip(choices: Seeded, content: bytes) -> bytes:
    """One to four bytes with other bits."""
    changed = bytearray(content)
    for _ in range(choices.small(1, 4)):
        if changed:
            changed[choices.whole(0, len(changed) - 1)] ^= choices.whole(1, 255)
    return bytes(changed)


def _cut(choices: Seeded, content: bytes) -> bytes:
    return content[: choices.whole(0, max(len(content) - 1, 0))]


STRANGERS = (
    b"\0", b"\xff\xfe", b"\n", b"'", b"{", b"[" * 5000, b": ", b"  - ", b"&a *a", b"!!python/object:os.system", b"\x80" * 40, b"9" * 400,
)  # fmt: skip


def _insert(choices: Seeded, content: bytes) -> bytes:
    at = choices.whole(0, len(content))
    return content[:at] + choices.one_of(STRANGERS) + content[at:]


def _empty(choices: Seeded, content: bytes) -> bytes:
    return choices.one_of([b"", b"\n", b" ", b"{}", b"[]", b"null", b"0", b"\0" * 64, b"PK\x03\x04", gzip.compress(b"x"), b"\xef\xbb\xbf"])


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True) or [b""]


def _double(choices: Seeded, content: bytes) -> bytes:
    lines = _lines(content)
    at = choices.whole(0, len(lines) - 1)
    return b"".join(lines[: at + 1] + lines[at:])


def _swap(choices: Seeded, content: bytes) -> bytes:
    lines = _lines(content)
    one, other = choices.whole(0, len(lines) - 1), choices.whole(0, len(lines) - 1)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _leave_out(choices: Seeded, content: bytes) -> bytes:
    lines = _lines(content)
    del lines[choices.whole(0, len(lines) - 1)]
    return b"".join(lines)


def _move(choices: Seeded, content: bytes) -> bytes:
    """A piece of the file somewhere else in it."""
    first = choices.whole(0, len(content))
    piece = content[first : first + choices.small(1, 200)]
    at = choices.whole(0, len(content))
    return content[:at] + piece + content[at:]


WORDS = (
    b"9" * 5000, b"-1", b"0", b"1e400", b"NaN", b"Infinity", b"-Infinity", b"1e-400", b"9223372036854775808", b"18446744073709551616",
    b"1048577", b"2147483648", b"016", b"3:0", b"0x10", b"1_000", b"null", b"~", b"true", b"yes", b"''", b"[]", b"{}", b"[[]]", b"{a: 1}",
    b'"x"', b"\xf0\x9f\x98\x80", b"a" * 100_000, b"/dev/zero", b"/etc/shadow", b"..", b"2000-01-01", b"999999999999 GHz", b"0.0000000001 B",
)  # fmt: skip
"""What may stand where a number or a name stands."""


def _word(choices: Seeded, content: bytes) -> bytes:
    """One number or word replaced by an odd one."""
    found = list(re.finditer(rb"[A-Za-z0-9_.+-]+", content))
    if not found:
        return _insert(choices, content)
    place = choices.one_of(found)
    return content[: place.start()] + choices.one_of(WORDS) + content[place.end() :]


def _nest(choices: Seeded, content: bytes) -> bytes:
    """A value as deep as no reader should follow."""
    depth = choices.one_of([50, 1000, 100_000])
    return _replace_value(choices, content, choices.one_of([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth]))


def _replace_value(choices: Seeded, content: bytes, value: bytes) -> bytes:
    found = list(re.finditer(rb"(?<=[:,\[] )[^\s,\]}]+", content)) or list(re.finditer(rb"[0-9]+", content))
    if not found:
        return value
    place = choices.one_of(found)
    return content[: place.start()] + value + content[place.end() :]


DAMAGES: dict[str, Damage] = {
    FLIP: _flip, "cut": _cut, "insert": _insert, "empty": _empty, "double a line": _double, "swap lines": _swap,
    "leave a line out": _leave_out, "move a piece": _move, "odd word": _word, "nest": _nest,
}  # fmt: skip
SHARES = (FLIP,) * 5 + ("cut",) * 3 + ("odd word",) * 6 + tuple(DAMAGES)
"""How often each is chosen."""


def damaged(choices: Seeded, content: bytes) -> tuple[str, bytes]:
    """What was done to ``content``, and the result, which differs."""
    for _ in range(20):
        name = choices.one_of(SHARES)
        result = DAMAGES[name](choices, content)
        if result != content:
            return name, result
    return FLIP, bytes([*content[:-1], content[-1] ^ 1]) if content else b"\0"
