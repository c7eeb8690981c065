"""Faults: real processes killed, files broken, disks filled; `make faults` prints what was lost."""
