"""How kernels are compiled: numba behind types that mypy can read, and one cache for all of them.

A kernel is plain Python over numbers and arrays. It is compiled at its first call, which takes
seconds, and kept on disk, so that the next process loads it in milliseconds. Nothing here may be
imported by a process that has to answer at once: `FenceIndex` imports it in `compile` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path  # noqa: TID251 - numba reads and writes its cache in any case
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.caching import (
    CacheImpl,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

_HOME = Path(__file__).parent


@cache
def _stamp() -> str:
    """A digest of every source that kernels come from.

    numba looks at the one file that a kernel stands in. A kernel holds the code of what it calls in
    other files too: without this it would go on running their old code after an upgrade.
    """
    digest = hashlib.sha256()
    for source in sorted(_HOME.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


class _Stamped:
    _py_file: str

    def get_source_stamp(self) -> Any:
        return _stamp()

    @classmethod
    def from_function(cls, function: Any, py_file: str) -> Any:
        if Path(py_file).parent != _HOME:
            return None  # somebody else's kernel: numba's own rules
        return super().from_function(function, py_file)  # type: ignore[misc]


class _AsTold(_Stamped, UserProvidedCacheLocator):
    """`NUMBA_CACHE_DIR`, where it is set."""


class _BesideSource(_Stamped, InTreeCacheLocator):
    """`__pycache__`, where it can be written."""


class _AtHome(_Stamped, UserWideCacheLocator):
    """The user's cache folder, where the package cannot be written."""


if _BesideSource not in CacheImpl._locator_classes:  # noqa: SLF001 - numba has no public door for it
    CacheImpl._locator_classes[:0] = [_AsTold, _BesideSource, _AtHome]  # noqa: SLF001


def kernel(function: Function) -> Function:
    """Compile on first call, keep on disk, run without the interpreter's lock."""
    made = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return cast("Function", made)


def bare_kernel(function: Function) -> Function:
    """A kernel that counts no references: it makes no array, and its caller holds those it is given.

    Counting them, as numba does wherever a column gets another name, doubled the cost of a match.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    made = numba.njit(**options)(function)
    return cast("Function", made)


def inlined(function: Function) -> Function:
    """A part of kernels, written out into each of them."""
    made = numba.njit(inline="always", error_model="numpy")(function)
    return cast("Function", made)


def _fetch(typing_context: Any, column: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        number = context.cast(builder, given[1], signature.args[1], types.intp)
        there = builder.gep(array.data, [number])
        pointer = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        insert: Any = cgutils.get_or_insert_function
        prefetch = insert(builder.module, shape, "llvm.prefetch.p0")
        builder.call(prefetch, [builder.bitcast(there, pointer), flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(column, place), generate


#: `fetch(column, place)` in a kernel asks the processor to bring that item near. It changes nothing, and
#: a place outside of the column does no harm.
fetch: Any = intrinsic(_fetch)


def is_on_disk(made: Any) -> bool:
    """Whether some version of a kernel was compiled before and kept."""
    name = made.py_func.__name__
    return any(Path(made.stats.cache_path).glob(f"*.{name}-*.nbc"))
