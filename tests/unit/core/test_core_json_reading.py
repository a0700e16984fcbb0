"""JSON is read in one place, and what is none ends in one kind of error with its line."""

import json
import re
from pathlib import Path

import pytest

import etasim
from etasim.core.json_reading import MOST_LEVELS, JsonError, read_value


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 300, 980, 100_000])
def test_deep_nesting_is_an_error_whatever_python_makes_of_it(opening, levels):
    closing = "".join({"[": "]", "{": "}"}[char] for char in reversed(opening) if char in "[{")
    n = -(-levels // len(closing))
    with pytest.raises(JsonError):
        read_value(opening * n)
    for inside in ("1", "{}", "[]"):
        with pytest.raises(JsonError, match=f"nested more than {MOST_LEVELS} deep"):
            read_value(opening * n + inside + closing * n)


def test_as_many_levels_as_are_allowed_are_read():
    value = 1
    for i in range(MOST_LEVELS):
        value = [value, 2] if i % 2 else {"a": value, "b": None}
    assert read_value(json.dumps(value)) == value
    with pytest.raises(JsonError):
        read_value(json.dumps([value]))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "Expecting value"), ("{\n\n,", 3, "Expecting property name"), ("[1] 2", 1, "Extra data"),
        (b"\xff\xfe\xff", 1, "can't decode"),
        ("[NaN]", 1, "NaN is no number"), ("-Infinity", 1, "-Infinity is no number"), ("9" * 5000, 1, "Exceeds the limit"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_an_error_with_its_line(text, line, message):
    with pytest.raises(JsonError, match=message) as refused:
        read_value(text)
    assert refused.value.line == line


def test_no_other_module_reads_json():
    package = Path(etasim.__file__).parent
    readers = [path.name for path in package.rglob("*.py") if re.search(r"\bjson\.(loads?|JSONDecoder)\b|validate_json", path.read_text())]
    assert readers == ["json_reading.py"]
