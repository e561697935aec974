"""Makes the packaged program from the packages of one Python, and all that is published with it.

    python packaging/bundle.py --site-packages .venv/lib/python3.11/site-packages .venv/bin/python

The last words are the Python that the bundle is made of, with cxr-edge installed in it; where that
is a Windows Python under Wine, they are `wine build/windows/python/python.exe`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
# What an antivirus took away, or a stick lost, `cxr-edge doctor` finds with it.
HASHES = "_internal/files.sha256"


@click.command(context_settings={"ignore_unknown_options": True}, help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist"), show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/pyinstaller"))
@click.option("--sign", help="A command that signs the program's file, which it is given.")
@click.option("--site-packages", required=True, type=click.Path(path_type=Path, exists=True))
@click.argument("python", nargs=-1, required=True)
def main(
    out: Path, work: Path, sign: str | None, site_packages: Path, python: tuple[str, ...]
) -> None:
    out, work = out.absolute(), work.absolute()
    folder = out / "cxr-edge"
    shutil.rmtree(folder, ignore_errors=True)
    run_pyinstaller(python, out, work)
    if sign:
        subprocess.run([sign, next(folder.glob("cxr-edge*"))], check=True)
    shutil.copy(ROOT / "LICENSE", folder)
    notices = [sys.executable, str(Path(__file__).with_name("notices.py"))]
    options = ["--site-packages", site_packages, "--build", work / "cxr_edge"]
    if subprocess.run([*notices, *options, folder]).returncode:
        raise SystemExit(1)  # it has said why
    write_hashes(folder)
    sizes = sorted(((path.stat().st_size, path) for path in files_of(folder)), reverse=True)
    for size, path in sizes[:12]:
        click.echo(f"{size / 1e6:8.1f} MB  {path.relative_to(folder).as_posix()}")
    click.echo(f"{sum(size for size, _ in sizes) / 1e6:8.1f} MB in {len(sizes)} files: {folder}")


def run_pyinstaller(python: Sequence[str], out: Path, work: Path) -> None:
    """Its words go to a log beside the work, and are shown where it fails."""
    work.mkdir(parents=True, exist_ok=True)
    # In a folder of its own: what is bundled is what is installed, not the checkout. Relative
    # paths, for a Windows Python under Wine knows no other of this system's.
    spec = os.path.relpath(ROOT / "packaging" / "cxr_edge.spec", work)
    options = ["--noconfirm", "--clean", "--log-level", "WARN", "--workpath", "."]
    options += ["--distpath", os.path.relpath(out, work)]
    done = subprocess.run(
        [*python, "-m", "PyInstaller", *options, spec],
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    (work / "pyinstaller.log").write_bytes(done.stdout)
    if done.returncode:
        sys.stdout.buffer.write(done.stdout[-4000:])
        raise SystemExit(f"PyInstaller ended with {done.returncode}.")


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def write_hashes(folder: Path) -> None:
    """The sha256 of every file of the program, as `sha256sum --check` reads it."""
    target = folder / HASHES
    target.unlink(missing_ok=True)
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files_of(folder)
    )
    target.write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
