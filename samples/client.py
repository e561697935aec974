"""Sends films to `cxr-edge serve` and prints what it says: python client.py film.jpg ...

Not for diagnostic use.
"""

import json
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

SERVER, TOKEN = "http://127.0.0.1:8717", ""  # a token: cxr-edge serve --new-token NAME


def predict(path: Path) -> dict:
    disposition = f"attachment; filename*=UTF-8''{quote(path.name)}"
    headers = {"Content-Type": "application/octet-stream", "Content-Disposition": disposition}
    headers |= {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    while True:
        try:
            with urlopen(Request(f"{SERVER}/v1/predict", path.read_bytes(), headers)) as answer:
                return json.load(answer)["films"][0]
        except HTTPError as problem:
            if problem.code != 503:  # too many films wait
                sys.exit(problem.read().decode())
            time.sleep(float(problem.headers["Retry-After"]))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        film = predict(Path(name))
        print(film["file"], film["status"], film["reason"] or film["finding"], film["score"])
