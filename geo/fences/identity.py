"""Which row is which fence: duplicates in a file, and rows matched with fences that are there.

The rule (product U4, F5), in the order in which it is tried:

1. `external_id`: the user's own key. The same one twice in a file is a conflict.
2. name and address within a group: two stores of one name at two addresses are two fences. The same
   name, group and address twice is a conflict unless their external ids differ.
3. name within a group, where it names one row and one fence only: so a corrected address changes the
   fence and does not make a second one.

Two things with different external ids are never the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from geo.fences.fence import Fence
from geo.fences.plain_cells import plain_texts
from geo.sheets.cells import as_text
from geo.sheets.changes import Review, pair, review
from geo.sheets.problems import Problem

MEMO = "memo"  # the key under which a sheet's memo is kept in a fence's metadata
_TEXTS = ("name", "external_id", "brand", "category", "store", "address")
_LISTS = ("tags",)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What tells one fence of a file from another; of a refused row as far as it could be read."""

    name: str | None
    external_id: str | None = None
    groups: tuple[str, ...] = ()
    address: str | None = None


def identity_of(fence: Fence) -> Identity:
    """The identity of a fence, its texts cleaned as those of a sheet are."""
    return Identity(
        name=as_text(fence.name),
        external_id=as_text(fence.external_id),
        groups=_cleaned(fence.groups),
        address=as_text(fence.address),
    )


def conflict_keys(identity: Identity) -> tuple[Hashable, ...]:
    """Keys that two rows of one file may not share."""
    keys: list[Hashable] = []
    if identity.external_id is not None:
        keys.append(("external_id", identity.external_id))
    rest = (identity.name, identity.address, identity.external_id)
    keys += [("name", group, *rest) for group in identity.groups or (None,)]
    return tuple(keys)


def _by_external_id(identity: Identity) -> Iterable[Hashable]:
    return () if identity.external_id is None else (identity.external_id,)


def _by_name_and_address(identity: Identity) -> Iterable[Hashable]:
    if identity.name is None:
        return ()
    return [(group, identity.name, identity.address) for group in identity.groups or (None,)]


def _by_name(identity: Identity) -> Iterable[Hashable]:
    if identity.name is None:
        return ()
    return [(group, identity.name) for group in identity.groups or (None,)]


def _may_be_same(row: Identity, fence: Identity) -> bool:
    ids = (row.external_id, fence.external_id)
    return None in ids or ids[0] == ids[1]


def review_fences(
    rows: Sequence[tuple[int, Fence]],
    existing: Sequence[Fence],
    *,
    given: frozenset[str] | Sequence[frozenset[str]],
    problems: Sequence[Problem] = (),
    refused: Mapping[Any, Identity] = MappingProxyType({}),
    sheets: Sequence[str | None] | None = None,
    scope: frozenset[str] | None = None,
) -> Review[Fence]:
    """What a file would do to the fences that are there.

    Args:
        rows, given, problems, refused: as `columns.read_fences` gives them, texts cleaned; of
            `refused` only the identities count. `given` may be one for all rows or one per row.
        sheets: the sheet of each row, where several sheets are reviewed together.
        existing: fences that may be meant: those of the groups in the file, and those with its
            external ids.
        scope: groups whose fences count as missing when the file does not name them; by default
            those of the rows. A fence outside them is never missing.
    """
    said = [given] * len(rows) if isinstance(given, frozenset) else given
    groups = scope if scope is not None else frozenset(g for _, f in rows for g in f.groups)
    there = _identities(existing)
    pairs, spared = _paired([fence for _, fence in rows], refused, there)
    return review(
        rows,
        existing,
        pairs=pairs,
        merge=lambda n, before, after: laid_over(before, after, given=said[n]),
        problems=problems,
        sheets=sheets,
        spared=spared,
        in_scope=lambda fence: bool(groups & set(fence.groups)),
    )


def _paired(
    fences: Sequence[Fence], refused: Mapping[Any, Identity], there: Sequence[Identity]
) -> tuple[list[int | None], frozenset[int]]:
    """(per fence of the file the index of the one it means, indices that refused rows mean).

    Only what shares a name or an external id with something that is there can mean it; the rest is
    not looked at, so that a file of new fences costs nothing here.
    """
    names = {identity.name for identity in there} - {None}
    ids = {identity.external_id for identity in there} - {None}
    near = [n for n, f in enumerate(fences) if f.name in names or f.external_id in ids]
    asked = [_as_read(fences[n]) for n in near]
    asked += [who for who in refused.values() if who.name in names or who.external_id in ids]
    found = pair(
        asked, there, levels=(_by_external_id, _by_name_and_address, _by_name), fits=_may_be_same
    )
    pairs: list[int | None] = [None] * len(fences)
    for n, place in zip(near, found, strict=False):
        pairs[n] = place
    return pairs, frozenset(place for place in found[len(near) :] if place is not None)


def _as_read(fence: Fence) -> Identity:
    """The identity of a fence that comes from a sheet: its texts are clean."""
    return Identity(
        name=fence.name, external_id=fence.external_id, groups=fence.groups, address=fence.address
    )


def _identities(fences: Sequence[Fence]) -> list[Identity]:
    """`identity_of` each, where they are many at once."""
    texts = [
        _cleaned_column([getattr(fence, field) for fence in fences])
        for field in ("name", "external_id", "address")
    ]
    cleaned = {groups: _cleaned(groups) for groups in {fence.groups for fence in fences}}
    return [
        Identity(name=name, external_id=external_id, groups=cleaned[fence.groups], address=address)
        for fence, name, external_id, address in zip(fences, *texts, strict=True)
    ]


def _cleaned_column(texts: Sequence[str | None]) -> Sequence[str | None]:
    plain = plain_texts(texts)
    return [as_text(text) for text in texts] if plain is None else plain


def laid_over(before: Fence, after: Fence, *, given: frozenset[str]) -> Fence:
    """The existing fence with what the file says laid over it.

    Only the fields in `given` change: what the file has no column for (opening hours, validity, …)
    stays. Groups are added, never taken away: a fence may have been put into others by hand. An empty
    cell takes no external id away. Of the metadata only the memo is the file's. A text that reads the
    same once cleaned stays as it was.
    """
    changes = {}
    for name in given:
        old, new = getattr(before, name), getattr(after, name)
        if old is not new and old != new:
            laid = _laid_over(name, old, new)
            if laid is not old:
                changes[name] = laid
    return replace(before, **changes) if changes else before


def _laid_over(name: str, old: Any, new: Any) -> Any:
    """What one field becomes; the old value itself where the new one says nothing new."""
    if name == "groups":
        here = _cleaned(old)
        more = [group for group in new if group not in here]
        return (*old, *more) if more else old
    if name == "metadata":
        return _with_memo(old, new.get(MEMO))
    if name == "external_id" and new is None:
        return old
    if name in _TEXTS:
        return old if as_text(old) == new else new
    if name in _LISTS:
        return old if _cleaned(old) == new else new
    return new


def _with_memo(metadata: Mapping[str, str], memo: str | None) -> Mapping[str, str]:
    if as_text(metadata.get(MEMO)) == memo:
        return metadata
    rest = {key: value for key, value in metadata.items() if key != MEMO}
    return MappingProxyType(rest if memo is None else {**rest, MEMO: memo})


def _cleaned(items: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for item in items if (text := as_text(item))))
