"""`python -m train evidence`: all that one run can tell of a model, as one page."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from ...commands import CONTEXT
from ...errors import TrainError
from ..selection import Selection, selection_options


@click.command(
    "evidence",
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  python -m train evidence model.onnx films.csv
  python -m train evidence pneumonia-children kermany=chest_xray/ --split split.csv \\
      --rename "bacterial pneumonia=pneumonia" --rename "viral pneumonia=pneumonia"
  python -m train evidence model.onnx films.csv --sister runs/sister/checkpoint.pt --no-worst

MODEL is a model file or the name of a shipped one. MANIFEST is a manifest.csv, or whatever
--data takes elsewhere: a folder of label folders, a public data set, LAYOUT=FOLDER.
The page shows the worst errors, which are patients' films: keep it where they may be, or
give --no-worst.
""",
)
@click.argument("model_name", metavar="MODEL")
@click.argument("data", metavar="MANIFEST...", nargs=-1, required=True)
@selection_options
@click.option(
    "--sister",
    "sisters",
    multiple=True,
    metavar="RUN/checkpoint.pt",
    type=click.Path(path_type=Path),
    help="A run that left a source or a batch out (--leave-source-out, --leave-out), whose films "
    "are among the data; may be given several times.",
)
@click.option(
    "--robustness-films",
    "n_robustness",
    type=click.IntRange(min=1),
    default=400,
    help="About so many films are disturbed, each in every way.",
)
@click.option("--worst/--no-worst", default=True, help="Show the worst errors.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PAGE.html",
    show_default="MODEL.evidence.html",
    help="The page.",
)
def command(
    model_name: str,
    data: tuple[str, ...],
    split_path: Path | None,
    part: str | None,
    renames: tuple[str, ...],
    ignore: tuple[str, ...],
    patient_pattern: str,
    sisters: tuple[Path, ...],
    n_robustness: int,
    worst: bool,
    out: Path | None,
) -> None:
    """Measure a model in every way there is, and write one page that stands alone."""
    from cxr_edge.model import load_model

    from .dossier import measure_model
    from .page import page
    from .plain_words import plain_words
    from .provenance import provenance_of

    model = load_model(model_name, "cpu")
    out = out or Path(f"{model.path.name.removesuffix('.onnx')}.evidence.html")
    if out.is_dir() or not out.parent.is_dir():
        raise TrainError(f"{out} cannot be written.", "Name a file in a folder that exists.")
    selection = Selection(data, split_path, part, renames, ignore, patient_pattern)
    words = ["python -m train evidence", Path(model_name).name, *selection.named_data()]
    words += selection.words()
    words += [f"--sister {path.resolve().parent.name}/{path.name}" for path in sisters]
    words += [f"--robustness-films {n_robustness}", "--worst" if worst else "--no-worst"]

    dossier = measure_model(model, selection, sisters, n_robustness)
    with TemporaryDirectory() as folder:
        html = page(dossier, provenance_of(" ".join(words)), Path(folder), worst)
    try:
        out.write_text(html, encoding="utf-8")
    except OSError as exc:
        raise TrainError(f"{out} cannot be written ({exc.strerror}).") from exc
    click.echo(f"{dossier.card.label}. Not for diagnostic use.")
    for line in plain_words(dossier):
        click.echo(f"- {line}")
    click.echo(f"Written to {out} ({len(html) / 1e6:.1f} MB); it stands alone.")
