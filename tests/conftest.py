"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The same examples in every run, on machines of any speed: a failure is a fault of the code, not of the day.
settings.register_profile("symgraph", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("symgraph")


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels are kept in a folder of the session's own, for child processes as well: the user's cache stays as it is,
    and nothing that an earlier version of the code compiled is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYMGRAPH_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield


@pytest.fixture(scope="session", autouse=True)
def made_well() -> Iterator[None]:
    """First calls wait for kernels that are made well, which are those to be tested; but where a test says otherwise.
    With SYMGRAPH_QUICK_FIRST=1 only what counts kernels, their files or references may fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYMGRAPH_QUICK_FIRST", os.environ.get("SYMGRAPH_QUICK_FIRST", "0"))
        yield
