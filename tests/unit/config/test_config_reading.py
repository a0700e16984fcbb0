"""The YAML reader: the place of every key, and files that are no input at all."""

import pytest
import yaml

from etasim.config import InputError, Problem, read_yaml
from etasim.config.errors import allowed_names, suggest
from etasim.config.reading import Document, Mark, SourceMap, merge
from etasim.config.scalars import PlainDumper


def _file(tmp_path, content):
    path = tmp_path / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_each_key_has_its_line(tmp_path):
    data, source = read_yaml(_file(tmp_path, "a: 1\nb:\n  c: [5,\n    6]\n  d: {e: x}\n"))
    assert data == {"a": 1, "b": {"c": [5, 6], "d": {"e": "x"}}}
    assert [source[path].line for path in (("a",), ("b",), ("b", "c"), ("b", "c", 1), ("b", "d", "e"))] == [1, 2, 3, 4, 5]
    assert source.mark(("b", "c", 1)).key == "b.c[1]"


def test_missing_key_has_the_line_of_its_parent(tmp_path):
    _, source = read_yaml(_file(tmp_path, "a: 1\nb:\n  c: 2\n"))
    problem = source.problem(("b", "x", 0), "is missing")
    assert (problem.line, problem.key) == (2, "b.x[0]")
    assert str(problem).endswith("some.yaml:2: b.x[0]: is missing")


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        ("", 1, "is empty"),
        ("# nothing\n", 1, "is empty"),
        ("- 1\n- 2\n", 1, "holds a list"),
        ("text", 1, "holds a str"),
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        ("a: 1\nb: {c: 2\n", 3, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        (b"\x00\x01\x02\xff", 1, "not a text file"),
        (b"\x7fELF\x02\x01\x01\x00", 1, "not a text file"),
        (b"a: \xff\xfe\n", 1, "not a text file"),
        ("a: &x 1\nb: *x\n", 2, "aliases are not supported"),
        ("a: &x [*x]\n", 1, "aliases are not supported"),
        ("a: !!python/object:os.system 1\n", 1, "tags are not supported"),
        ("a: !!bool x\n", 1, "tags are not supported"),
        ("[" * 5000, 1, "not valid"),
        ("a: " + "9" * 5000 + "\n", 1, "a number of 5,000 characters; at most 40"),
        ("a: 1.5e" + "9" * 5000 + "\n", 1, "at most 40"),
        ("{a: " * 33 + "1" + "}" * 33, 1, "nested more than 32 deep"),
        ("a: 1\nb: <<\n", 2, "merge keys are not supported"),
        ("a: &x [1]\nb: [*x, *x]\n", 2, "aliases are not supported"),
        ("a: [1, *" + "secret" * 9 + "]\n", 1, "aliases"),
        ("a: 'x\n", 2, "not valid YAML"),
        ("a: 1\n2: 1\n", 2, "a key must be a name"),
        ("a: 1\n? [1, 2]\n: 1\n", 2, "a key must be a name"),
        ("a:\n  <<: {b: 1}\n", 2, "a key must be a name"),
    ],
)
def test_what_is_not_input_is_refused_with_its_line(tmp_path, content, line, part):
    with pytest.raises(InputError) as caught:
        read_yaml(_file(tmp_path, content))
    (problem,) = caught.value.problems
    assert problem.line == line
    assert part in problem.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("016", "write 16, or 14 for what YAML 1.1 reads (octal)"), ("08", "write 8"), ("-007", "write -7"), ("0o16", "write 14"),
        ("0x10", "write 16"), ("0b11", "write 3"), ("1_000", "write 1000"), ("3:0", "write 180"), ("1:00:00.5", "write 3600.5"),
    ],
)  # fmt: skip
def test_other_numbers_than_decimal_ones_are_refused_with_the_decimal_spelling(tmp_path, text, spelling):
    with pytest.raises(InputError) as caught:
        read_yaml(_file(tmp_path, f"a: 1\nb: [2, {text}]\nc: {text}\n"))
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [(2, "b[1]"), (3, "c")]
    assert all(spelling in problem.message for problem in caught.value.problems)
    assert read_yaml(_file(tmp_path, f"a: '{text}'\n")).data == {"a": text}


def test_plain_words(tmp_path):
    words = {"1e3": 1000.0, "1e-4": 0.0001, "-5": -5, "-.5": -0.5, "2024-01-01": "2024-01-01", "off": False, "~": None, "16 KiB": "16 KiB"}
    for text, value in words.items():
        (read,) = read_yaml(_file(tmp_path, f"a: {text}\n")).data.values()
        assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("text", ["016", "3:0", "1e3", "0o7", "1_000", "yes", "2024-01-01", "<<", "~", "", "=", ".inf", "a: b", "'x'"])
def test_what_is_dumped_reads_back(tmp_path, text):
    value = {"a": text, "b": [text]}
    assert read_yaml(_file(tmp_path, yaml.dump(value, Dumper=PlainDumper))).data == value


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", "\ufeff".encode("utf-16-le")])
def test_a_byte_order_mark_is_no_text(tmp_path, mark):
    encoding = "utf-8" if mark[0] == 0xEF else "utf-16-le"
    assert read_yaml(_file(tmp_path, mark + "a: 1\n".encode(encoding))).data == {"a": 1}


@pytest.mark.parametrize("content", ["root:*:19:0:99999:7:::\nmy $ecret: x\n", "token: &my$ecret 1\na: *my$ecret\n", "a: b: my$ecret\n"])
def test_no_text_of_another_file_is_quoted(tmp_path, content):
    with pytest.raises(InputError) as caught:
        read_yaml(_file(tmp_path, content), ("name", "core"))
    assert "ecret" not in str(caught.value)
    assert "99999" not in str(caught.value)


def test_a_key_that_is_no_name_is_not_quoted(tmp_path):
    (problem,) = _problems(_file(tmp_path, "name: x\nroot:$6$salt: 1\nroot:$6$salt: 2\n"))
    assert (problem.line, problem.key) == (3, "(not a name)")


def _problems(path):
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    return caught.value.problems


def test_all_duplicate_keys_are_reported(tmp_path):
    with pytest.raises(InputError) as caught:
        read_yaml(_file(tmp_path, "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n"))
    assert [(problem.line, problem.key, problem.message) for problem in caught.value.problems] == [
        (4, "b.c", "duplicate key, first given in line 3"),
        (5, "a", "duplicate key, first given in line 1"),
    ]


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(2**40)
    (problem,) = _problems(path)
    assert problem.message == "cannot be read: larger than 1,048,576 bytes"


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0.yaml"])
def test_unreadable_file(tmp_path, name):
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(f"{tmp_path}/{name}")


def test_control_characters_stay_on_one_line():
    assert str(Problem("f", 1, "a\nb", "x\x1b[0m")) == "f:1: a\\nb: x\\x1b[0m"


def test_merge_keeps_the_place_of_each_value():
    base = Document({"a": {"b": [1, 2], "c": 3}}, SourceMap({(): Mark("base", 1, ""), ("a",): Mark("base", 1, "a")}))
    base.source.update({("a", "b"): Mark("base", 2, "a.b"), ("a", "b", 1): Mark("base", 3, "a.b[1]"), ("a", "c"): Mark("base", 4, "a.c")})
    over = Document({"a": {"b": [7, 8]}}, SourceMap({("a",): Mark("over", 8, "a"), ("a", "b"): Mark("over", 9, "a.b")}))
    data, source = merge(base, over)
    assert data == {"a": {"b": [7, 8], "c": 3}}
    assert source.mark(("a", "b", 1)) == Mark("over", 9, "a.b[1]")
    assert source.mark(("a", "c")) == Mark("base", 4, "a.c")
    assert source.mark(("a", "missing")) == Mark("base", 1, "a.missing")


@pytest.mark.parametrize(("word", "close"), [("clck", "clock"), ("CLOCK", "clock"), ("ro", "rows"), ("zzz", None), (3, None), ("", None)])
def test_suggestion(word, close):
    assert suggest(word, ["clock", "rows", "lanes"]) == close
    assert ("did you mean" in allowed_names(word, ["clock", "rows", "lanes"])) == (close is not None)
