"""Print what every fault cost: python -m tests.faults [NAME ...] [--markdown]."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.faults.table import FAULTS, Row, disk_is_possible, undisturbed

COLUMNS = ("fault", "what was done", "finished", "lost", "repeated", "same board", "note")


def cells(name: str, row: Row) -> list[str]:
    same = "yes" if row.same else "NO"
    numbers = [str(row.finished), str(row.lost), str(row.repeated)]
    return [name, row.when, *numbers, same, row.note]


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="; ".join(FAULTS))
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    console = Console()
    if unknown := [name for name in options.names if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; there are: {'; '.join(FAULTS)}")
    names = options.names or list(FAULTS)
    if "the disk is full" in names and not disk_is_possible():
        console.print("the disk is full: left out, no file system can be mounted here")
        names.remove("the disk is full")
    wanted = undisturbed()
    lines, survived = [], True
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = FAULTS[name](Path(folder), wanted)
            except Exception as error:  # the others' rows are not lost for it
                row = Row(f"it did not come to an end: {str(error)[-500:]}", 0, 0, 0, same=False)
        survived &= row.same and not row.lost and not row.repeated
        lines.append(cells(name, row))
        if not options.markdown:
            console.print(f"{name}: {time.monotonic() - begun:.0f} s", highlight=False)
    packages = ", ".join(f"{one} {version(one)}" for one in ("ray", "torch", "deepspeed", "mlflow"))
    where = f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {packages}"
    if options.markdown:
        print("| " + " | ".join(COLUMNS) + " |")
        print("|" + "---|" * len(COLUMNS))
        for line in lines:
            print("| " + " | ".join(line) + " |")
        print(f"\n{where}.")
        return survived
    table = Table(*COLUMNS, box=SIMPLE_HEAD, caption=where)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    return survived


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
