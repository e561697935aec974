"""A model file before anything runs it: its bytes, whether they are the right ones, and its card.

Needs no onnxruntime, so that models can be listed, shown and checked at once.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import ModelError
from .language import Message, why
from .model_card import METADATA_KEY, ModelCard

MODELS_FOLDER = Path(__file__).parent / "models"
MANIFEST_NAME = "manifest.json"
TWIN_SUFFIX = ".fp32.onnx"
GET_A_MODEL = Message("Use the model shipped with cxr-edge or one written by `python -m export`.")
_INSTALL_AGAIN = Message("Install cxr-edge again.")


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model's bytes, with what they say of themselves.

    sha256: of the bytes, hexadecimal. heatmaps: whether they are wanted of it, besides the logits.
    """

    path: Path
    data: bytes
    sha256: str
    card: ModelCard
    metadata: Mapping[str, str]
    heatmaps: bool = False

    @property
    def graph(self) -> bytes:
        """What a session is opened on."""
        return self.data if self.heatmaps else without_heatmaps(self.data)


def shipped_models() -> list[str]:
    """The names of the models that come with cxr-edge."""
    names = (path.name for path in MODELS_FOLDER.glob("*.onnx"))
    return sorted(n.removesuffix(".onnx") for n in names if not n.endswith(TWIN_SUFFIX))


def twin_path(path: Path) -> Path:
    """Where the fp32 twin of a model lies."""
    return path.with_name(path.name.removesuffix(".onnx") + TWIN_SUFFIX)


def signature_path(path: Path) -> Path:
    """Where the signature of a model lies."""
    return path.with_name(path.name + ".sig")


def read_manifest(folder: Path) -> dict[str, str]:
    """The sha256 of each model file that a folder is meant to hold, by its name.

    Raises ModelError where the manifest is missing or damaged.
    """
    path = folder / MANIFEST_NAME
    try:
        return {str(name): str(digest) for name, digest in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError) as exc:
        raise ModelError(
            Message("{path} cannot be read ({why}).", path=path, why=exc), _INSTALL_AGAIN
        ) from exc


def read_model_file(path: Path, sha256: str = "", heatmaps: bool = False) -> ModelFile:
    """Read a model file and refuse one that is not what it should be.

    sha256: what it must be, if known. A file in MODELS_FOLDER must be as its manifest says, and one
    with a signature file beside it must have the sha256 that was signed (who signed it is for
    signature.verify to say). heatmaps: see ModelFile.
    Raises ModelError: missing, changed, not ONNX, with external data, without a usable card.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelError(
            Message("The model {path} cannot be read ({why}).", path=path, why=why(exc)),
            Message("Check the path, or name one of {names}.", names=", ".join(shipped_models())),
        ) from exc
    found = hashlib.sha256(data).hexdigest()
    if not sha256 and path.absolute().parent == MODELS_FOLDER.absolute():
        sha256 = read_manifest(MODELS_FOLDER).get(path.name, "")
        if not sha256 and path.suffix == ".onnx":
            raise ModelError(
                Message("{path} is not in the manifest of the shipped models.", path=path),
                _INSTALL_AGAIN,
            )
    if sha256 and found != sha256:
        raise ModelError(
            Message(
                "{path} was changed or damaged: its sha256 is {found}, not {sha256}.",
                path=path,
                found=found,
                sha256=sha256,
            ),
            Message("Install it again from its source."),
        )
    if signature_path(path).is_file():
        from .signature import read_signature

        if read_signature(signature_path(path)).sha256 != found:
            raise ModelError(
                f"{path} is not the file that {signature_path(path).name} was made for.",
                "Get both again from their source; if you made the model yourself, sign it again.",
            )
    _refuse_external_data(data, path)
    try:
        metadata = _read_metadata(data)
    except (ValueError, IndexError) as exc:
        raise ModelError(
            Message("{path} is not a usable ONNX model ({why}).", path=path, why=exc), GET_A_MODEL
        ) from exc
    if METADATA_KEY not in metadata:
        raise ModelError(Message("The model {path} carries no model card.", path=path), GET_A_MODEL)
    return ModelFile(
        path, data, found, ModelCard.from_json(metadata[METADATA_KEY]), metadata, heatmaps
    )


def without_heatmaps(data: bytes) -> bytes:
    """An ONNX file without its heatmaps, so that they cost nothing.

    onnxruntime works out what nobody asked for too: of RunOptions.only_execute_path_to_fetches only
    its training builds take notice (seen in 1.31).
    """
    view = memoryview(data)
    try:
        for number, start, body, end in _spans(data):
            if number == 7:  # onnx.proto, ModelProto.graph
                graph = _pruned(view[body:end])
                size = _to_varint(sum(map(len, graph)))
                return b"".join((view[:start], b"\x3a", size, *graph, view[end:]))
    except (ValueError, IndexError, KeyError):
        pass  # not ONNX: onnxruntime says so, and better
    return data


def _refuse_external_data(data: bytes, path: Path) -> None:
    """No tensor may lie in another file: onnxruntime would read it from the working directory.

    Such a tensor has an entry with the key "location" (onnx.proto, TensorProto.external_data).
    Looked for as protobuf writes it (field 1, 8 bytes), each number also padded as parsers allow.
    """
    at = data.find(b"location")
    while at >= 0:
        before = data[max(0, at - 24) : at]
        if re.search(rb"(\x0a|\x8a\x80*\x00)(\x08|\x88\x80*\x00)\Z", before):
            raise ModelError(
                f"{path} keeps weights in another file (ONNX external data), which nothing vouches "
                "for.",
                "Save the model as one file: onnx.save(model, path, save_as_external_data=False).",
            )
        at = data.find(b"location", at + 1)


def _read_metadata(data: bytes) -> dict[str, str]:
    """metadata_props of an ONNX file. Raises ValueError, IndexError: not protobuf."""
    entries = [
        dict(_fields(bytes(entry)))
        for number, entry in _fields(data)
        if number == 14  # onnx.proto, ModelProto.metadata_props; its key is 1, its value 2
    ]
    return {bytes(e.get(1, b"")).decode(): bytes(e.get(2, b"")).decode() for e in entries}


def _pruned(graph: memoryview) -> list[memoryview]:
    """The parts of an onnx.proto GraphProto but its output `heatmaps` and what it alone needs."""
    node, output = 1, 12  # of GraphProto; a node's inputs are its field 1, its outputs 2
    parts = [(number, graph[at:end], graph[body:end]) for number, at, body, end in _spans(graph)]
    names = (bytes(dict(_fields(body))[1]) for number, _, body in parts if number == output)
    wanted = set(names) - {b"heatmaps"}
    kept = []
    for number, part, body in reversed(parts):  # every node follows those that it reads from
        if number == output and bytes(dict(_fields(body))[1]) not in wanted:
            continue
        if number == node:
            fields = list(_fields(body))
            if wanted.isdisjoint(bytes(value) for field, value in fields if field == 2):
                continue
            wanted.update(bytes(value) for field, value in fields if field == 1)
        kept.append(part)
    return kept[::-1]


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of one protobuf message that have a length, by number."""
    view = memoryview(data)
    for number, _, body, end in _spans(data):
        if body:
            yield number, view[body:end]


def _spans(data: bytes | memoryview) -> Iterator[tuple[int, int, int, int]]:
    """The fields of one protobuf message: number, start, start of its value (0: a number), end.

    See protobuf.dev/programming-guides/encoding.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        body = 0
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            length, body = _varint(data, at)
            at = body + length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"no protobuf: a field of kind {kind}")
        if at > len(data):
            raise ValueError("it is cut short")
        yield number, start, body, at


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number that starts at `at`, and where the next field does."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("no protobuf: a number of more than 64 bits")


def _to_varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
