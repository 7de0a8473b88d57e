"""Where: shapes, fences, matching and visits. Pure: no I/O, no clock, no dice."""
