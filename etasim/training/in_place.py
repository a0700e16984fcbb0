"""Changes in place, for torch.fx, which takes ``x += y`` for ``x = x + y`` and would not see who else reads x."""

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

OPERATORS = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


class InPlaceProxy(fx.Proxy):
    """Records OPERATORS as what they are, under the names that torch.fx gives them."""


def _recording(operation: Callable[..., Any]) -> Callable[[Any, object], Any]:
    def record(proxy: Any, other: object) -> Any:
        return proxy.tracer.create_proxy("call_function", operation, (proxy, other), {}, name=operation.__name__.removeprefix("i"))

    return record


for _operation in OPERATORS:
    setattr(InPlaceProxy, f"__{_operation.__name__}__", _recording(_operation))
