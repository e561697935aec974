"""Fifty clients at once: `cxr-edge serve` under load, and its speed against `cxr-edge predict`.

    python -m benchmarks.web_load [FOLDER OF FILMS]

The server has two workers, and shares the machine's cores with the clients. Each client sends one
film after the other on a connection of its own, as the page does, and comes again after 503 when
Retry-After says so. Films are made, of 1.3 megapixels, unless a folder is named; no two files are
the same.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np

from .films import FIVE_MEGAPIXELS, ROOT, film, jpeg
from .results import Measure, record, record_ratio
from .startup import CXR_EDGE
from .turns import median, plain_environment, take_turns

N_CLIENTS, N_FILMS, N_TURNS, N_WORKERS = 50, 2000, 3, 2
_N_PICTURES = 20
_COMMENT = b"\xff\xfe\x00\x08"  # of six bytes: the JPEG standard's COM segment


@dataclass
class Load:
    """What the clients saw. seconds: of each film, from its first byte to its answer, without what
    a client waited after 503."""

    took_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    n_busy: int = 0
    others: list[str] = field(default_factory=list)
    peak_bytes: int = 0


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as name:
        films = _films(folder, Path(name))
        loads: list[Load] = []

        def serve() -> float:
            loads.append(_serve(films, n_places=64))
            return loads[-1].took_s

        serve_s, predict_s = take_turns([serve, partial(_predict, films)], N_TURNS, n_warm=1)
        few_places = [_serve(films, n_places=16) for _ in range(2)]
    record_ratio(
        "web-load",
        f"the speed of predict: serve with {N_CLIENTS} clients at once",
        0.90,
        serve_s,
        predict_s,
        {
            "clients": N_CLIENTS,
            "films": len(films),
            "workers": N_WORKERS,
            "serve_films_per_s": len(films) / float(np.median(serve_s)),
            "predict_films_per_s": len(films) / float(np.median(predict_s)),
        },
    )
    for places, some in ((64, loads[1:]), (16, few_places)):
        _record(some, places)
    _record_alone()


def _record(loads: Sequence[Load], places: int) -> None:
    """The slowest answers, the memory, and what was not an answer."""
    # One film: what a worker takes for one in that run, while the other works too.
    p99 = [
        np.percentile(load.seconds, 99) * len(load.seconds) / (places * N_WORKERS * load.took_s)
        for load in loads
    ]
    others = [one for load in loads for one in load.others]
    seconds = np.concatenate([load.seconds for load in loads])
    record(
        Measure(
            f"web-load-p99-{places}-places",
            f"the places in the queue times the time of one film: 99 % of the answers, with "
            f"{places} places and {N_CLIENTS} clients",
            median(np.array(p99)),
            "times",
            1.0,
            False,
            {
                "answers": len(seconds),
                "answers_503": sum(load.n_busy for load in loads),
                "other_errors": len(others),
                "p50_ms": 1000 * float(np.percentile(seconds, 50)),
                "p99_ms": 1000 * float(np.percentile(seconds, 99)),
            },
        )
    )
    record(
        Measure(
            f"web-load-memory-{places}-places",
            f"the server with its processes at most, {places} places",
            median(np.array([load.peak_bytes for load in loads]) / 1e6),
            "MB",
            500,
            False,
            {},
        )
    )
    if others:
        sys.exit(f"{len(others)} were neither an answer nor 503: {set(others)}")


def _record_alone() -> None:
    """What a person waits for one film, and nobody else sends any."""
    with tempfile.TemporaryDirectory() as name:
        films = []
        for number in range(_N_PICTURES):
            films.append(Path(name) / f"{number}.jpg")
            films[-1].write_bytes(jpeg(film(FIVE_MEGAPIXELS, seed=number)))
        with _server(Path(name), n_places=64) as (port, pid):
            asyncio.run(_clients(films[:2], port, pid, n_clients=1))
            load = asyncio.run(_clients(films[2:], port, pid, n_clients=1))
    record(
        Measure(
            "web-alone",
            "from the first byte sent to the answer, a film of 5 megapixels alone",
            median(1000 * np.array(load.seconds)),
            "ms",
            1000,
            False,
            {},
        )
    )


def _films(folder: Path | None, made: Path) -> list[Path]:
    """Films with no two alike."""
    if folder is not None:
        pictures = [path.read_bytes() for path in sorted(folder.glob("*.jp*g"))[:_N_PICTURES]]
    else:
        pictures = [jpeg(film((1000, 1300), seed=seed)) for seed in range(_N_PICTURES)]
    films = []
    for number in range(N_FILMS):
        data = pictures[number % len(pictures)]
        path = made / f"film {number:05}.jpg"
        path.write_bytes(data[:2] + _COMMENT + f"{number:06}".encode() + data[2:])
        films.append(path)
    os.sync()
    return films


def _predict(films: Sequence[Path]) -> float:
    with tempfile.TemporaryDirectory() as name:
        table = Path(name) / "results.csv"
        started = time.perf_counter()
        subprocess.run(
            [*CXR_EDGE, "predict", str(films[0].parent), "--csv", str(table), *_options()],
            check=True,
            env=plain_environment(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - started


def _serve(films: Sequence[Path], n_places: int) -> Load:
    with tempfile.TemporaryDirectory() as name, _server(Path(name), n_places) as (port, pid):
        # Its processes start with the first films.
        asyncio.run(_clients(films[: 2 * N_WORKERS], port, pid))
        return asyncio.run(_clients(films, port, pid))


@contextmanager
def _server(folder: Path, n_places: int) -> Any:
    process = subprocess.Popen(
        [
            *CXR_EDGE,
            *("serve", "--port", "0", "--queue", str(n_places)),
            *("--ledger", str(folder / "ledger.db"), *_options()),
        ],
        env=plain_environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found, said + process.stderr.read()
        port = int(found[1])
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                    assert json.load(answer)["status"] == "ok"
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


async def _clients(films: Sequence[Path], port: int, pid: int, n_clients: int = N_CLIENTS) -> Load:
    load = Load()
    waiting = list(reversed(films))
    watching = asyncio.create_task(_watch_memory(pid, load))
    started = time.perf_counter()
    await asyncio.gather(*(_client(waiting, port, load) for _ in range(min(n_clients, len(films)))))
    load.took_s = time.perf_counter() - started
    watching.cancel()
    return load


async def _client(waiting: list[Path], port: int, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while waiting:
        request = _request(waiting.pop(), port)
        while True:
            started = time.perf_counter()
            try:
                writer.write(request)
                await writer.drain()
                status, headers, body = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError) as exc:
                load.others.append(type(exc).__name__)
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            if headers.get("connection") == "close":
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if status == 503 and "retry-after" in headers:
                load.n_busy += 1
                await asyncio.sleep(float(headers["retry-after"]))
                continue
            if status != 200 or json.loads(body)["films"][0]["status"] != "ok":
                load.others.append(f"{status} {body[:200]!r}")
            load.seconds.append(time.perf_counter() - started)
            break
    writer.close()


def _request(path: Path, port: int) -> bytes:
    body = path.read_bytes()
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Content-Disposition: attachment; filename*=UTF-8''{quote(path.name)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


async def _watch_memory(pid: int, load: Load) -> None:
    while True:
        load.peak_bytes = max(load.peak_bytes, _memory_of(pid))
        await asyncio.sleep(0.5)


def _memory_of(pid: int) -> int:
    """Bytes of a process and its children; what they share counts once."""
    total = 0
    for one in (pid, *_children(pid)):
        try:
            said = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        found = re.search(r"^Pss:\s+(\d+) kB", said, re.MULTILINE)
        total += 1024 * int(found[1]) if found else 0
    return total


def _children(pid: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(one) for one in task.read_text().split()]
    return children + [one for child in children for one in _children(child)]


def _options() -> tuple[str, ...]:
    return ("--device", "cpu", "--workers", str(N_WORKERS))


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("This reads the memory of processes as Linux tells it.")
    main()
