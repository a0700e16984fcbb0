"""From pydantic's errors to problems in the words of the YAML."""

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from etasim.config.errors import allowed_names
from etasim.config.reading import KeyPath

_SECTION = "must be a section (a mapping of keys to values), got {input}"

MESSAGES = {
    "missing": "is missing",
    "int_type": "must be a whole number, got {input}{hint}",
    "bool_type": "must be true or false, got {input}",
    "float_type": "must be a number, got {input}",
    "string_type": "must be text, got {input}; put quotes around it",
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "dict_type": _SECTION,
    "tuple_type": "must be a list, got {input}",
    "greater_than_equal": "must be at least {ge}, got {input}",
    "less_than_equal": "must be at most {le}, got {input}",
    "greater_than": "must be greater than {gt}, got {input}",
    "less_than": "must be less than {lt}, got {input}",
    "finite_number": "must be a finite number, got {input}",
    "too_short": "must have at least {min_length} entry",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "may hold letters, digits and any of _ . + -, got {input}",
    "literal_error": "unknown name {input}; {allowed}",
    "extra_forbidden": "unknown key; {allowed}",
}
"""What to say for each kind of error that pydantic finds; others keep pydantic's words."""


def violations(error: ValidationError, model: type[BaseModel]) -> Iterable[tuple[KeyPath, str]]:
    """Key path and message of each error that pydantic found in a value for ``model``."""
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        if item["type"] == "rules":
            yield from ((path + below, message) for below, message in item["ctx"]["violations"])
            continue
        allowed = ""
        if _is_misspelt(item, model):
            item["type"] = "extra_forbidden"
        if item["type"] == "extra_forbidden":
            allowed = allowed_names(path[-1], _annotation(model, path[:-1]).keys())
        elif item["type"] == "literal_error":
            allowed = allowed_names(item["input"], get_args(_annotation(model, path)))
        yield path, _message(item, allowed)


def _is_misspelt(item: Any, model: type[BaseModel]) -> bool:
    """Whether what should be an entry under a name that the user chose is none, and the name cannot be one."""
    if not item["loc"] or MESSAGES.get(item["type"]) != _SECTION:
        return False
    *path, name = item["loc"]
    section = _annotation(model, tuple(path))
    is_key = not getattr(section, "ENTRIES", None) or name in section.model_fields
    return not is_key and not section.is_name(name)


def refusal(kind: Any, value: Any) -> str:
    """Why ``value`` is none of ``kind``, a type without sections; empty if it is one."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        return _message(item, allowed_names(value, get_args(required(kind))) if item["type"] == "literal_error" else "")
    return ""


def _message(item: Any, allowed: str) -> str:
    """What to say of an error of pydantic."""
    template, context = MESSAGES.get(item["type"]), item.get("ctx", {})
    if template is None:
        text: str = item["msg"]
        return text
    bounds = {key: context[key] for key in ("ge", "le", "gt", "lt", "min_length") if key in context}
    return template.format(input=_short(item["input"]), allowed=allowed, hint=_spelling(item["input"]), **bounds)


def _annotation(model: type[BaseModel], path: KeyPath) -> Any:
    """Type of the value at ``path`` of a model; entries of a mapping or list have the type of its values."""
    current: Any = model
    for step in path:
        current = required(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = (field.annotation for name, field in current.model_fields.items() if step in (field.alias, name))
            current = next(fields, getattr(current, "ENTRIES", None))
        else:
            current = next(argument for argument in reversed(get_args(current)) if argument is not Ellipsis)
    return required(current)


def required(annotation: Any) -> Any:
    """The type without ``Annotated`` around it, and without the None of a value that may be left out."""
    while True:
        arguments = get_args(annotation)
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif NoneType in arguments:
            annotation = next(argument for argument in arguments if argument is not NoneType)
        else:
            return annotation


def _spelling(value: object) -> str:
    """The spelling of a whole number that was written as a fraction or with an exponent."""
    return f"; write {value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
