"""Settings of the define-by-run mode, one value per thread (and per asynchronous task)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_enable_backprop: ContextVar[bool] = ContextVar("enable_backprop", default=True)
_SETTINGS: dict[str, ContextVar[Any]] = {"enable_backprop": _enable_backprop}

recording = _enable_backprop.get
"""Whether operations record their creators; the short way for code that asks at every operation."""


def _setting(name: str) -> ContextVar[Any]:
    found = _SETTINGS.get(name)
    if found is None:
        raise AttributeError(f"there is no setting {name!r}; the settings are: {', '.join(sorted(_SETTINGS))}")
    return found


class Config:
    """The settings as attributes, read and written for the running thread alone.

    Attributes:
        enable_backprop: whether operations on Variables record their creators, so that ``backward`` can walk them.

    Raises:
        AttributeError: a name that is not a setting.

    >>> import symgraph as sg
    >>> sg.config.enable_backprop
    True
    """

    __slots__ = ()

    enable_backprop: bool

    def __getattr__(self, name: str) -> Any:
        return _setting(name).get()

    def __setattr__(self, name: str, value: Any) -> None:
        _setting(name).set(value)

    def __dir__(self) -> list[str]:
        return sorted(_SETTINGS)

    def __repr__(self) -> str:
        return f"config({', '.join(f'{name}={setting.get()!r}' for name, setting in _SETTINGS.items())})"


config = Config()


@contextmanager
def using_config(name: str, value: Any) -> Iterator[None]:
    """A setting changed inside a ``with`` block (or a decorated function), and put back after it whatever happens.

    Raises:
        AttributeError: `name` is not a setting.

    >>> import symgraph as sg
    >>> with sg.using_config("enable_backprop", False):
    ...     sg.config.enable_backprop
    False
    """
    setting = _setting(name)
    before = setting.get()
    setting.set(value)
    try:
        yield
    finally:
        setting.set(before)


def no_grad() -> Any:
    """``using_config("enable_backprop", False)``: operations compute without recording, and free what they can.

    >>> import numpy as np, symgraph as sg
    >>> with sg.no_grad():
    ...     y = sg.Variable(np.array(2.0)) ** 2
    >>> y.creator is None
    True
    """
    return using_config("enable_backprop", False)
