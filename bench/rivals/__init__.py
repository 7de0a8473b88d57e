"""The ways to match that Nearcast is measured against: a file each, behind `bench._runner`.

A file has a class `Matcher`:

* `Matcher(fences)` draws what the library wants to be given; not timed.
* `build()` makes the index; timed, and its memory is measured.
* `match(pings)` gives two int64 columns, ping and fence, one row per pair, in any order; timed.
* `one(lon, lat)` gives the fences of one place, `insert(row)` adds a twin of that fence and
  `remove(row)` takes it out again: where the library has a way of its own to do it.
* `also_cpu_s()`, seconds that servers used besides this process, and `memory_mb()`, where the growth
  of this process is not the index's memory.

`Unavailable(reason)` says that it cannot be measured here. Which environment a rival runs in, whether it
is exact and how many pings it is given stands in `bench._runner.RIVALS`.
"""

from __future__ import annotations


class Unavailable(Exception):
    """What this rival needs is not installed on this machine."""
