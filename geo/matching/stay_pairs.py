"""The pairs of a batch at work: what was kept of each before, changed in place as its fixes go by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geo.matching.presence import Live, Run
from geo.matching.stay_columns import Stays, Visits, key_codes
from geo.matching.tables import Bools, Floats, Ints

NEVER_MS = -(1 << 60)  # before any fix


@dataclass(kw_only=True)
class Pairs:
    """The pairs of a batch at work; columns as in `Stays`, changed in place.

    Attributes:
        row: of the stay before the batch, -1 where there is none.
        known: there is a newest visit: from the stay, or from a visit taken up again.
        unwritten: the newest visit has no row yet.
        changed: the stay is to be written.
        over: visits that ended in this batch, with whether their row is still to be inserted.
    """

    device: Ints
    fence_id: Ints
    row: Ints
    known: Bools
    unwritten: Bools
    changed: Bools
    inside: Bools
    told_ms: Ints
    presumed_ms: Ints
    arrived_ms: Ints
    left_ms: Ints
    fixes: Ints
    p_sum: Ints
    out_first_ms: Ints
    out_last_ms: Ints
    out_fixes: Ints
    out_far: Ints
    out_lon: Floats
    out_lat: Floats
    over: list[tuple[Visits, Bools]] = field(default_factory=list)

    @classmethod
    def of(cls, stays: Stays, device: Ints, fence_id: Ints) -> Pairs:
        """The state before the batch of pairs that ascend by (device, fence id)."""
        row = _find(key_codes(stays.device, stays.fence_id), key_codes(device, fence_id))
        known = row >= 0
        at = np.flatnonzero(known)
        of = row[at]
        count = len(device)

        def ints(column: Ints, missing: int) -> Ints:
            values = np.full(count, missing, np.int64)
            values[at] = column[of]
            return values

        def floats(column: Floats) -> Floats:
            values = np.zeros(count)
            values[at] = column[of]
            return values

        inside = np.zeros(count, bool)
        inside[at] = stays.inside[of]
        return cls(
            device=device,
            fence_id=fence_id,
            row=row,
            known=known,
            unwritten=np.zeros(count, bool),
            changed=np.zeros(count, bool),
            inside=inside,
            told_ms=ints(stays.told_ms, -1),
            presumed_ms=ints(stays.presumed_ms, -1),
            arrived_ms=ints(stays.arrived_ms, NEVER_MS),
            left_ms=ints(stays.left_ms, NEVER_MS),
            fixes=ints(stays.fixes, 0),
            p_sum=ints(stays.p_sum, 0),
            out_first_ms=ints(stays.out_first_ms, 0),
            out_last_ms=ints(stays.out_last_ms, 0),
            out_fixes=ints(stays.out_fixes, 0),
            out_far=ints(stays.out_far, 0),
            out_lon=floats(stays.out_lon),
            out_lat=floats(stays.out_lat),
        )

    def __len__(self) -> int:
        return len(self.device)

    def visits(self, pair: Ints) -> Visits:
        """The newest visits of these pairs."""
        return Visits(
            device=self.device[pair],
            fence_id=self.fence_id[pair],
            arrived_ms=self.arrived_ms[pair],
            left_ms=self.left_ms[pair],
            fixes=self.fixes[pair],
            p_sum=self.p_sum[pair],
            told_ms=self.told_ms[pair],
        )

    def stays(self, pair: Ints, evidence: list[bytes]) -> Stays:
        """These pairs as stays."""
        return Stays(
            device=self.device[pair],
            fence_id=self.fence_id[pair],
            inside=self.inside[pair],
            told_ms=self.told_ms[pair],
            presumed_ms=self.presumed_ms[pair],
            arrived_ms=self.arrived_ms[pair],
            left_ms=self.left_ms[pair],
            fixes=self.fixes[pair],
            p_sum=self.p_sum[pair],
            out_first_ms=self.out_first_ms[pair],
            out_last_ms=self.out_last_ms[pair],
            out_fixes=self.out_fixes[pair],
            out_far=self.out_far[pair],
            out_lon=self.out_lon[pair],
            out_lat=self.out_lat[pair],
            evidence=evidence,
        )

    def end_visits(self, pair: Ints) -> None:
        """The newest visits of these pairs are over: another begins."""
        if len(pair):
            self.over.append((self.visits(pair), self.unwritten[pair]))

    def live(self, pair: int) -> Live | None:
        """Where one pair stands, for the plain step."""
        if not self.known[pair]:
            return None
        return Live(
            inside=bool(self.inside[pair]),
            arrived_ms=int(self.arrived_ms[pair]),
            left_ms=int(self.left_ms[pair]),
            told_ms=int(self.told_ms[pair]),
            presumed_ms=int(self.presumed_ms[pair]),
            run=Run(
                first_ms=int(self.out_first_ms[pair]),
                last_ms=int(self.out_last_ms[pair]),
                fixes=int(self.out_fixes[pair]),
                far=int(self.out_far[pair]),
                lon=float(self.out_lon[pair]),
                lat=float(self.out_lat[pair]),
            ),
        )

    def put_live(self, pair: int, live: Live) -> None:
        """Where the plain step has brought one pair."""
        self.known[pair] = self.changed[pair] = True
        self.inside[pair] = live.inside
        self.arrived_ms[pair], self.left_ms[pair] = live.arrived_ms, live.left_ms
        self.told_ms[pair], self.presumed_ms[pair] = live.told_ms, live.presumed_ms
        self.put_run(pair, live.run)

    def put_run(self, pair: int, run: Run) -> None:
        """The run of out fixes of one pair."""
        self.out_first_ms[pair], self.out_last_ms[pair] = run.first_ms, run.last_ms
        self.out_fixes[pair], self.out_far[pair] = run.fixes, run.far
        self.out_lon[pair], self.out_lat[pair] = run.lon, run.lat


def _find(codes: Ints, wanted: Ints) -> Ints:
    """The place of each wanted number in ascending ones, -1 where it is not there."""
    if not len(codes):
        return np.full(len(wanted), -1, np.int64)
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[place] == wanted, place, -1)
