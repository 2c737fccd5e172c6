"""Settings, one value per thread (and per asynchronous task)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_enable_backprop: ContextVar[bool] = ContextVar("enable_backprop", default=True)
_check_nan: ContextVar[bool] = ContextVar("check_nan", default=False)
_SETTINGS: dict[str, ContextVar[Any]] = {"enable_backprop": _enable_backprop, "check_nan": _check_nan}

recording = _enable_backprop.get
"""Whether operations record their creators; the short way for code that asks at every operation."""
check_nan = _check_nan.get
"""Whether results are checked for nan and inf; asked only while there is something in `checking`."""
checking: list[None] = []
"""As many items as there are threads that check results; nothing is asked, and nothing costs, while it is empty."""
on_checking: list[Callable[[], None]] = []
"""What is called when the first thread begins to check."""


def _setting(name: str) -> ContextVar[Any]:
    found = _SETTINGS.get(name)
    if found is None:
        raise AttributeError(f"there is no setting {name!r}; the settings are: {', '.join(sorted(_SETTINGS))}")
    return found


def _change(name: str, value: Any) -> None:
    """Give a setting another value."""
    setting = _setting(name)
    if setting is _check_nan:
        before, value = setting.get(), bool(value)
        if value and not before:
            checking.append(None)
            for call in on_checking if len(checking) == 1 else ():
                call()
        elif before and not value and checking:
            checking.pop()
    setting.set(value)


class Config:
    """The settings as attributes, read and written for the running thread alone.

    Attributes:
        enable_backprop: whether operations on Variables record their creators, so that ``backward`` can walk them.
        check_nan: whether an operation that gives nan, or inf of finite numbers, raises NumericError at its line:
            operations on Variables and their gradients at once; compiled functions are then replayed in the reference
            interpreter before they answer, which is slow. Functions made by ``njit`` are not checked.

    Raises:
        AttributeError: a name that is not a setting.

    >>> import symgraph as sg
    >>> sg.config.enable_backprop
    True
    """

    __slots__ = ()

    enable_backprop: bool
    check_nan: bool

    def __getattr__(self, name: str) -> Any:
        return _setting(name).get()

    def __setattr__(self, name: str, value: Any) -> None:
        _change(name, value)

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
    before = _setting(name).get()
    _change(name, value)
    try:
        yield
    finally:
        _change(name, before)


def no_grad() -> Any:
    """``using_config("enable_backprop", False)``: operations compute without recording, and free what they can.

    >>> import numpy as np, symgraph as sg
    >>> with sg.no_grad():
    ...     y = sg.Variable(np.array(2.0)) ** 2
    >>> y.creator is None
    True
    """
    return using_config("enable_backprop", False)
