"""The devices that a process knows: key → serial and last words, so that most pings ask nobody.

A book is filled by what the database says of devices that it misses, by what committed transactions have
written, and by what other processes have changed, which a number per app tells it. What a transaction
is about to write stays out until it is committed: one that is rolled back leaves nothing here.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from campaigns.people.identity import Identity
from geo.matching.pings import Bools, Ints
from nearcast.services.key_slots import KeySlots
from nearcast.services.raw_pings import RawPings
from nearcast.store import device_words
from nearcast.store.device_words import DeviceWords, Heard, Words, merged, words_of

#: some 0.5 KB a device: then everything is forgotten, and asked again as it comes
MAX_DEVICES = 2_000_000
REFRESH_MS = 60 * 60_000
UNSAID = -1
_UNKNOWN = DeviceWords(-1, "")


class _Shelf:
    """The devices of one app: columns by slot.

    `words` are as stored (`spoken` the same, without the rest), at `stored_ms`; `said_ms` also knows
    when the same words were heard again.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self.slots = KeySlots()
        self.words: list[DeviceWords] = []
        self.spoken: list[Words] = []
        self.serial = np.zeros(0, np.int64)
        self.consent = np.zeros((3, 0), np.int8)
        self.said_ms = np.zeros(0, np.int64)
        self.stored_ms = np.zeros(0, np.int64)

    def put(self, devices: Sequence[DeviceWords]) -> None:
        """Take in devices, new ones and ones that have changed."""
        if not devices:
            return
        slots = self.slots.opened([one.key for one in devices])
        self._grow(len(self.slots))
        for slot, one in zip(slots.tolist(), devices, strict=True):
            if slot == len(self.words):
                self.words.append(one)
                self.spoken.append(one.words)
            else:
                self.words[slot], self.spoken[slot] = one, one.words
        self.serial[slots] = [one.serial for one in devices]
        self.said_ms[slots] = self.stored_ms[slots] = [one.said_ms for one in devices]
        consents = [[UNSAID if word is None else int(word) for word in one[4:7]] for one in devices]
        self.consent[:, slots] = np.array(consents, np.int8).T

    def heard_again(self, slots: Ints, at_ms: Ints) -> None:
        np.maximum.at(self.said_ms, slots, at_ms)

    def believed(self, slot: int) -> DeviceWords:
        """What is known of a device, the same words heard again included."""
        return self.words[slot]._replace(said_ms=int(self.said_ms[slot]))

    def _grow(self, size: int) -> None:
        room = len(self.serial)
        if size > room:
            more = max(1024, size - room, room // 2)
            self.serial = np.concatenate([self.serial, np.zeros(more, np.int64)])
            self.said_ms = np.concatenate([self.said_ms, np.zeros(more, np.int64)])
            self.stored_ms = np.concatenate([self.stored_ms, np.zeros(more, np.int64)])
            self.consent = np.hstack([self.consent, np.zeros((3, more), np.int8)])


@dataclass(frozen=True, kw_only=True)
class Known:
    """Who the pings of one app are, before anything is written; one row a ping.

    Attributes:
        serial: of the device; -1 where nobody has met it yet, or the ping names none.
        mark: the same, but the pings of one new device share a number below -1.
        location: the word on location consent that holds for each ping: its own, else the newest said
            before it in the batch or stored; 1 yes, 0 no, -1 nobody has said.
        slot: where the book has it, -1 where it has not.
    """

    app_id: int
    raw: RawPings
    serial: Ints
    mark: Ints
    location: NDArray[np.int8]
    slot: Ints
    shelf: _Shelf = field(repr=False)

    @property
    def consent(self) -> NDArray[np.int8]:
        """(3, n) stored words on location, marketing and nights; 1 yes, 0 no, -1 unsaid."""
        found = np.full((3, len(self.slot)), UNSAID, np.int8)
        known = self.slot >= 0
        found[:, known] = self.shelf.consent[:, self.slot[known]]
        return found


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The devices of a batch with the new ones met, and what the book may learn after the commit.

    Attributes:
        serial: of each ping's device; -1 where the ping names none or its word does not count.
    """

    known: Known
    serial: Ints
    met: Sequence[DeviceWords]
    changed: Mapping[int, Sequence[Heard]]
    again: tuple[Ints, Ints]
    counts: Bools
    written: list[tuple[int | None, Sequence[DeviceWords]]] = field(default_factory=list)

    def who_at(self, rows: Sequence[int]) -> list[tuple[str | None, str | None]]:
        """(user id, ad id) of some pings' devices, each as of its ping.

        The newest word said up to the ping's instant, in the batch or stored; a stored word that is
        newer than the ping counts where no other is there.
        """
        raw, shelf = self.known.raw, self.known.shelf
        wanted = {raw.keys[row] for row in rows}
        heard: dict[str | None, list[Heard]] = {}
        for row, who in raw.said.items():
            if self.counts[row] and raw.keys[row] in wanted:
                heard.setdefault(raw.keys[row], []).append(Heard(int(raw.at_ms[row]), who))
        found = []
        for row in rows:
            slot, at_ms = int(self.known.slot[row]), int(raw.at_ms[row])
            stored = shelf.words[slot] if slot >= 0 else _UNKNOWN
            spoken = heard.get(raw.keys[row])
            if spoken is None:
                found.append((stored.user_id, stored.ad_id))
                continue
            if slot >= 0:
                stored = shelf.believed(slot)
            before = [one for one in spoken if one.at_ms <= at_ms]
            now = merged(stored if stored.said_ms <= at_ms else _UNKNOWN, before)
            found.append((now.user_id or stored.user_id, now.ad_id or stored.ad_id))
        return found


class DeviceBook:
    """What a process knows of devices; one for all apps.

    Args:
        max_devices: how many are known at once.
        refresh_ms: the same words heard again are written down when what is stored is so much older.
            Between, only this process knows how new they are: of two processes, the other may let an
            older word of a late ping win, until the device says the newer one again.
    """

    def __init__(self, *, max_devices: int = MAX_DEVICES, refresh_ms: int = REFRESH_MS) -> None:
        self._max_devices, self._refresh_ms = max_devices, refresh_ms
        self._shelves: dict[int, _Shelf] = {}
        self._lock = threading.Lock()
        # serials of devices that a transaction met and that was rolled back: they keep them
        self._reserved: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return sum(len(shelf.words) for shelf in self._shelves.values())

    def identify(
        self,
        conn: sa.Connection,
        *,
        app_id: int,
        raw: RawPings,
        rows: Bools | None = None,
        unheard: Collection[int] = (),
    ) -> Known:
        """Who sent these pings; only devices that the book misses are asked for.

        To be called once a transaction and app, before it writes anything of that app's devices.

        Args:
            rows: pings to identify; the others count as naming nobody. None: all.
            unheard: pings that are refused in any case: their consent is not heard, their refusal is.
        """
        with self._lock:
            shelf = self._caught_up(conn, app_id)
            slot = shelf.slots.of(raw.keys)
            if rows is not None:
                slot[~rows] = -1
            missing = np.flatnonzero(slot < 0 if rows is None else (slot < 0) & rows).tolist()
            named = [row for row in missing if raw.keys[row] is not None]
            keys = [str(raw.keys[row]) for row in named]
            if keys:
                shelf.put(device_words.of_keys(conn, app_id=app_id, keys=keys))
                slot[named] = shelf.slots.of(keys)
            return _known(app_id, raw, shelf, slot, rows, unheard)

    def settle(
        self, conn: sa.Connection, known: Known, *, taken: Bools, refusing: Bools | None = None
    ) -> Settled:
        """Meet the new devices of a batch; gather what the others newly say.

        Args:
            taken: pings that were not rejected: their devices are met and their words count.
            refusing: pings rejected because they refuse location: that word is kept, nothing else.
        Raises:
            Conflict: another process has just met one of them; take the verb again.
        """
        said = known.raw.said if taken.all() else dict(_said(known.raw, taken, refusing))
        changed, again = _news(known, said, self._refresh_ms)
        counts = taken if refusing is None else taken | refusing
        serial, met = known.serial, list[DeviceWords]()
        strange = np.flatnonzero(counts & (known.mark < -1)).tolist()
        if strange:
            serial, met = _meet(conn, known, strange, said, self._reserved)
        return Settled(known=known, serial=serial, met=met, changed=changed, again=again, counts=counts)

    def write(self, conn: sa.Connection, settled: Settled) -> None:
        """Write what known devices have newly said; the last thing before the commit.

        It locks those devices and then the app's row, which others wait for that change words too.
        """
        shelf, serial = settled.known.shelf, settled.known.shelf.serial
        heard = {int(serial[slot]): words for slot, words in settled.changed.items()}
        believed = {int(serial[slot]): shelf.believed(slot) for slot in settled.changed}
        settled.written.append(
            device_words.change(conn, app_id=settled.known.app_id, heard=heard, believed=believed)
        )

    def learn(self, settled: Settled) -> None:
        """Take over what a transaction has written, once it is committed."""
        known = settled.known
        if settled.changed and not settled.written:
            raise ValueError("The words of a batch were not written before its commit: call write.")
        with self._lock:
            for one in settled.met:
                self._reserved.pop((known.app_id, one.key), None)
            shelf = known.shelf
            if self._shelves.get(known.app_id) is not shelf:
                return  # all was forgotten meanwhile
            shelf.heard_again(*settled.again)
            shelf.put(settled.met)
            for version, changed in settled.written:
                shelf.put(changed)
                if version == shelf.version + 1:  # else others' changes lie between: read them first
                    shelf.version = version

    def _caught_up(self, conn: sa.Connection, app_id: int) -> _Shelf:
        """The shelf of an app with what other processes have changed since the last look."""
        version = device_words.version(conn, app_id=app_id)
        if len(self) > self._max_devices:
            self._shelves.clear()
        shelf = self._shelves.get(app_id)
        if shelf is None:
            shelf = self._shelves[app_id] = _Shelf(version)
        elif version > shelf.version:
            changed = device_words.changed_since(conn, app_id=app_id, version=shelf.version)
            known = shelf.slots.of([one.key for one in changed]) >= 0
            shelf.put([one for one, is_known in zip(changed, known.tolist(), strict=True) if is_known])
            shelf.version = version
        return shelf


def _known(
    app_id: int,
    raw: RawPings,
    shelf: _Shelf,
    slot: Ints,
    rows: Bools | None,
    unheard: Collection[int],
) -> Known:
    everybody = len(slot) > 0 and int(slot.min()) >= 0
    if everybody:
        serial = mark = shelf.serial.take(slot)
        location = shelf.consent[0].take(slot)
    else:
        met = slot >= 0
        serial, location = np.full(len(slot), -1, np.int64), np.full(len(slot), UNSAID, np.int8)
        serial[met], location[met] = shelf.serial[slot[met]], shelf.consent[0, slot[met]]
        mark = serial.copy()
        strangers: dict[str, int] = {}
        for row in np.flatnonzero(~met if rows is None else ~met & rows).tolist():
            key = raw.keys[row]
            if key is not None:
                mark[row] = strangers.setdefault(key, -2 - len(strangers))
    if raw.said:
        location = _location_as_of(raw, shelf, slot, location, unheard)
    return Known(
        app_id=app_id, raw=raw, serial=serial, mark=mark, location=location, slot=slot, shelf=shelf
    )


def _location_as_of(
    raw: RawPings,
    shelf: _Shelf,
    slot: Ints,
    stored: NDArray[np.int8],
    unheard: Collection[int],
) -> NDArray[np.int8]:
    """Location consent as it stood at each ping: its own word, else the newest one before."""
    location, at_ms = stored.copy(), raw.at_ms
    own = {
        row: who.location
        for row, who in raw.said.items()
        if who.location is False or (who.location and row not in unheard)
    }
    for row, word in own.items():
        location[row] = word
    # the silent pings of a device that says what is stored know it already
    turning = {raw.keys[row] for row, word in own.items() if stored[row] != word} - {None}
    if not turning:
        return location
    spoken: dict[str | None, list[tuple[int, int]]] = {}
    for row in own:
        if raw.keys[row] in turning:
            spoken.setdefault(raw.keys[row], []).append((int(at_ms[row]), row))
    for row, key in enumerate(raw.keys):
        if key in turning and row not in own:
            since_ms = -1 if stored[row] == UNSAID else int(shelf.said_ms[slot[row]])
            before = [one for one in spoken[key] if since_ms <= one[0] <= at_ms[row]]
            location[row] = location[max(before)[1]] if before else stored[row]
    return location


def _said(raw: RawPings, taken: Bools, refusing: Bools | None) -> Iterator[tuple[int, Identity]]:
    """What counts of what the pings say."""
    for row, who in raw.said.items():
        if taken[row]:
            yield row, who
        elif refusing is not None and refusing[row]:
            yield row, Identity(key=who.key, location=False)


def _news(
    known: Known, said: Mapping[int, Identity], refresh_ms: int
) -> tuple[dict[int, list[Heard]], tuple[Ints, Ints]]:
    """Slot → all that a device says in the batch, if any of it is new; and who says the same again."""
    shelf, raw = known.shelf, known.raw
    rows = np.fromiter(said, np.int64, len(said))
    met = known.slot[rows] >= 0
    slots, at_ms = known.slot[rows[met]], raw.at_ms[rows[met]]
    spoken = list(said.values()) if met.all() else [said[row] for row in rows[met].tolist()]
    new = at_ms - shelf.stored_ms[slots] > refresh_ms
    of = shelf.spoken
    new |= np.fromiter(
        (_is_news(of[slot], who) for slot, who in zip(slots.tolist(), spoken, strict=True)),
        bool,
        len(slots),
    )
    changed: dict[int, list[Heard]] = {slot: [] for slot in slots[new].tolist()}
    same = ~np.isin(slots, list(changed)) if changed else np.ones(len(slots), bool)
    for place in np.flatnonzero(~same).tolist():
        changed[int(slots[place])].append(Heard(int(at_ms[place]), spoken[place]))
    return changed, (slots[same], at_ms[same])


def _is_news(stored: Words, who: Identity) -> bool:
    said = words_of(who)
    return said != stored and any(
        word is not None and word != before for word, before in zip(said, stored, strict=True)
    )


def _meet(
    conn: sa.Connection,
    known: Known,
    rows: Iterable[int],
    said: Mapping[int, Identity],
    reserved: dict[tuple[int, str], int],
) -> tuple[Ints, list[DeviceWords]]:
    """Insert the devices of these pings; all serials, and the devices."""
    raw = known.raw
    heard: dict[str, list[Heard]] = {}
    seen_ms: dict[str, int] = {}
    strange = list(rows)
    for row in strange:
        key, at_ms = str(raw.keys[row]), int(raw.at_ms[row])
        seen_ms[key] = min(seen_ms.get(key, at_ms), at_ms)
        words = heard.setdefault(key, [])
        if row in said:
            words.append(Heard(at_ms, said[row]))
    new = [merged(DeviceWords(-1, key), words) for key, words in heard.items()]
    seen = list(seen_ms.values())
    met = device_words.meet(conn, app_id=known.app_id, new=new, seen_ms=seen, reserved=reserved)
    of = {one.key: one.serial for one in met}
    serial = known.serial.copy()
    serial[strange] = [of[str(raw.keys[row])] for row in strange]
    return serial, met
