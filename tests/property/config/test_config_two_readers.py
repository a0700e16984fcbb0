"""Of a text that counts as read alike, libyaml finds what PyYAML's own reader does: the same values, at the same lines, or nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from etasim.config import reading

SHIPPED = sorted(Path(reading.__file__).parents[2].glob("[ct]*s/**/*.yaml"))
WORDS = ["a", "b", "layers", "1", "0x1", "3:0", "~", "null", "-1.5e3", "=", "<<", "'", '"', "# why", "#", "@", "`", "+", ";", "x" * 1100]
SIGNS = [": ", ":", "- ", "-", "[", "]", "{", "}", ", ", ",", " ", "\n", "\n  ", "\n    "]

texts = st.lists(st.sampled_from(WORDS) | st.sampled_from(SIGNS), max_size=24).map("".join)


def found(loader: type, text: str | bytes) -> Any:
    """Tags, values and lines of a document; None of one that is refused."""
    try:
        node = loader(text).get_single_node()
    except (yaml.YAMLError, UnicodeError):
        return None
    return _tree(node) if node else "empty"


def _tree(node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value, node.start_mark.line
    if isinstance(node, yaml.SequenceNode):
        return node.start_mark.line, [_tree(item) for item in node.value]
    return node.start_mark.line, {index: (_tree(key), _tree(value)) for index, (key, value) in enumerate(node.value)}


@given(texts)
@example("a: [1, {b: 2}]\nlayers:\n  - {a: 'x: y', b: [1, -2.5]} # why\n  -\n    b: 0x1\n")
def test_both_find_the_same(text: str) -> None:
    assume(reading._is_alike(text))
    quick = found(reading._QuickLoader, text)
    assert quick is None or quick == found(reading._Loader, text)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_file_is_the_same_to_both(path: Path) -> None:
    assert found(reading._QuickLoader, path.read_bytes()) == found(reading._Loader, path.read_bytes()) is not None


@pytest.mark.parametrize("text", ["a:\t1", "a: |#\n", "---", "? a", "a: é", "a: &x 1", "a: *x", "a: !t 1", "%YAML 1.1\n---\na: 1"])
def test_where_they_part_only_one_is_asked(text: str) -> None:
    assert not reading._is_alike(text)


def test_what_libyaml_refuses_is_told_in_the_words_of_pyyaml() -> None:
    with pytest.raises(reading.InputError, match="mapping values are not allowed here"):
        reading.parse_yaml("a: b: c\n", "x.yaml")


def test_most_shipped_files_are_read_quickly() -> None:
    assert sum(reading._is_alike(path.read_bytes()) for path in SHIPPED) > 0.9 * len(SHIPPED)
