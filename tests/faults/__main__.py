"""Do to `cxr-edge watch` what it must survive, and print what became of it.

The short form takes about two minutes, --full about 40. What takes a mount or another user is
imitated as root alone, on Linux.
"""

import argparse
import importlib
import json
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr_edge import __version__

from .outcome import CannotRunError, Outcome, Scale

FAULTS = (
    *("kill", "power", "csv_faults", "disk_full", "folder_faults", "mutated", "writers"),
    *("endurance", "sigterm"),
)
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="as often and as long as it must be")
    parser.add_argument("--only", action="append", choices=FAULTS, metavar="FAULT", help="this one")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there")
    parser.add_argument("--save", action="store_true", help=f"write them into {RESULTS.name}")
    parser.add_argument("--table", action="store_true", help=f"only print what {RESULTS.name} says")
    given = parser.parse_args()
    if given.table:
        print(table(read(RESULTS)))
        return
    entries: dict[str, dict[str, Any]] = {}
    for name in given.only or FAULTS:
        print(f"-- {name}", file=sys.stderr, flush=True)
        started = time.monotonic()
        outcome = run(name, given.full, given.seed)
        entries[name] = {
            "fault": outcome.fault,
            "figures": outcome.figures,
            "holds": outcome.holds,
            "undone": outcome.undone,
            "form": "full" if given.full else "short",
            "minutes": round((time.monotonic() - started) / 60, 1),
            "version": __version__,
            "system": f"{platform.system()} {platform.machine()}, "
            f"Python {platform.python_version()}",
            "taken_on": datetime.now(UTC).date().isoformat(),
        }
        print(table({name: entries[name]}).splitlines()[-1], file=sys.stderr, flush=True)
        for path in filter(None, (given.json, RESULTS if given.save else None)):
            write(path, {**read(path), name: entries[name]})
    print(table(entries))
    if not all(entry["holds"] for entry in entries.values()):
        sys.exit(1)


def run(name: str, full: bool, seed: int = 0) -> Outcome:
    """One fault, in an empty folder."""
    module = importlib.import_module(f"tests.faults.{name}")
    with tempfile.TemporaryDirectory(prefix=f"cxr-edge-{name}-") as folder:
        try:
            return module.run(Scale(Path(folder).resolve(), full, seed))
        except CannotRunError as exc:
            return Outcome(module.FAULT, "not done here", True, str(exc))
        except Exception as exc:
            return Outcome(module.FAULT, f"{type(exc).__name__}: {exc}", False)


def table(entries: dict[str, dict[str, Any]]) -> str:
    """For a reader, in Markdown."""
    lines = ["| fault | what became of it | holds |", "|---|---|---|"]
    for name in sorted(entries, key=FAULTS.index):
        entry = entries[name]
        cells = [entry["fault"], entry["figures"].replace("|", "/").replace("\n", " ")]
        if entry["undone"]:
            cells[1] += f" (not done: {entry['undone']})"
        holds = ("in part" if entry["undone"] else "yes") if entry["holds"] else "**no**"
        lines.append(f"| {' | '.join(cells)} | {holds} |")
    return "\n".join(lines)


def read(path: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write(path: Path, entries: dict[str, dict[str, Any]]) -> None:
    ordered = {name: entries[name] for name in FAULTS if name in entries}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
