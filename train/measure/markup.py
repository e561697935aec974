"""HTML pages that stand alone: no script, nothing from elsewhere, pictures inside."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

NOT_FOR_DIAGNOSIS = "Not for diagnostic use."

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #1a1a1a; background: #fff; }
.warning { border-left: .4rem solid #d55e00; padding: .5rem 1rem; background: #d55e0022;
  font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .8rem .25rem 0; text-align: left;
  vertical-align: top; font-variant-numeric: tabular-nums; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; max-width: 100%; }
figure.small { max-width: 27rem; }
img { max-width: 100%; background: #fff; border-radius: .3rem; }
code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; background: #8882; padding: .6rem; border-radius: .3rem; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #16181b; } }
@media print {
  body { font-size: 10pt; max-width: none; margin: 0; color: #000; background: #fff; }
  .scroll { overflow: visible; }
  h2, caption { break-after: avoid; }
  tr, figure { break-inside: avoid; }
}
"""


def document(heading: str, parts: Iterable[str]) -> str:
    """The page as text: the warning, the heading, and these parts of HTML below."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(heading)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(
            (f'<p class="warning">{NOT_FOR_DIAGNOSIS}</p>', f"<h1>{escape(heading)}</h1>", *parts)
        )
        + "\n</body></html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Iterable[object]], caption: str = "") -> str:
    """A table of plain texts; header: without any text there is none."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in header)
    head = f"<tr>{cells}</tr>" if any(header) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}{head}{body}</table></div>'


def picture(title: str, path: Path, small: bool = False) -> str:
    """A PNG or JPEG file, as a part of the page; small: two beside each other."""
    png = path.suffix == ".png"
    data = base64.b64encode(_in_256_colours(path) if png else path.read_bytes()).decode()
    kind = "png" if png else "jpeg"
    shown = escape(title)
    return (
        f"<figure{' class=small' if small else ''}><figcaption>{shown}</figcaption>"
        f'<img alt="{shown}" '
        f'src="data:image/{kind};base64,{data}"></figure>'
    )


def _in_256_colours(path: Path) -> bytes:
    """A drawing does with a third of its bytes so, and a page may have twenty."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def bullets(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
