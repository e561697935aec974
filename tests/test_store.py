"""The models of a PC: only what somebody vouches for gets in, and nothing is lost half way."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cxr_edge import load_model, store
from cxr_edge.errors import ModelError
from cxr_edge.model_file import MODELS_FOLDER, read_model_file, signature_path
from cxr_edge.signature import PublicKey, public_key_text, sign
from cxr_edge.store import Store
from tests.tiny_model import golden_text, tiny_card, write_drifting_model, write_tiny_model

KEY = SigningKey(bytes(range(32)))
PUBLIC = PublicKey("St. Anna", bytes(KEY.verify_key))


@pytest.fixture
def stick(tmp_path) -> Path:
    folder = tmp_path / "Stick ä"
    folder.mkdir()
    return folder


@pytest.fixture
def here(tmp_path) -> Store:
    return Store(tmp_path / "Modelle 肺" / "models")


def model_of(stick: Path, version: str = "1", name: str = "tiny", signed: bool = True) -> Path:
    path = stick / f"{name} {version}.onnx"
    card = replace(tiny_card(), name=name, version=version)
    write_tiny_model(path, card.to_json())
    if signed:
        sign_file(path)
    return path


def sign_file(path: Path, key: SigningKey = KEY) -> None:
    signature_path(path).unlink(missing_ok=True)
    file = read_model_file(path)
    text = sign(file.sha256, file.card.name, file.card.version, "St. Anna", key)
    signature_path(path).write_text(text, encoding="utf-8")


def state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_signed_model_is_installed_under_its_name_and_signer(stick, here):
    entry = here.install(model_of(stick), [PUBLIC])
    assert (entry.label, entry.signer, entry.shipped) == ("tiny@1", "St. Anna", False)
    assert entry.installed_at
    assert here.find("tiny") == here.find("tiny@1") == entry
    assert load_model(entry.path, "cpu", sha256=entry.sha256).card.name == "tiny"
    assert signature_path(entry.path).is_file(), "so that it can be verified again"


def test_keys_are_trusted_once_they_lie_in_the_keys_folder(stick, here):
    assert PUBLIC not in here.trusted_keys()
    (here.folder / "keys").mkdir(parents=True)
    (here.folder / "keys" / "anna.pub").write_text(public_key_text(PUBLIC), encoding="utf-8")
    assert here.install(model_of(stick), here.trusted_keys()).signer == "St. Anna"


def tamper(path: Path) -> None:
    """One weight, seen from the third byte of its mantissa."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x00\x00\x20\x41")  # the weight 10
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: signature_path(path).unlink(), "has no signature"),
        (tamper, "is not the file that"),
        (lambda path: sign_file(path, SigningKey(bytes(32))), "no key that is trusted"),
        (
            lambda path: signature_path(path).write_text(
                sign(hashlib.sha256(path.read_bytes()).hexdigest(), "other", "1", "A", KEY)
            ),
            "was made for other 1",
        ),
        (lambda path: path.unlink(), "cannot be read"),
    ],
    ids=["unsigned", "tampered", "foreign key", "for another model", "missing"],
)
def test_what_nobody_vouches_for_is_refused_and_changes_nothing(stick, here, spoil, why):
    path = model_of(stick)
    spoil(path)
    with pytest.raises(ModelError, match=why) as info:
        here.install(path, [PUBLIC])
    assert info.value.next_step
    assert not here.folder.exists()


def test_a_sha256_that_the_user_knows_is_enough_and_must_be_right(stick, here):
    path = model_of(stick, signed=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="was changed or damaged"):
        here.install(path, [], sha256="0" * 64)
    assert here.install(path, [], sha256=sha256.upper()).signer == ""


def test_unsigned_must_be_said(stick, here):
    assert here.install(model_of(stick, signed=False), [], unsigned=True).label == "tiny@1"


@pytest.mark.parametrize(
    "golden", [golden_text(off_by=1.0), None, "[]"], ids=["drifts", "none", "empty"]
)
def test_a_model_that_does_not_prove_itself_here_is_not_installed(stick, here, golden):
    path = write_tiny_model(stick / "m.onnx", golden=golden)
    sign_file(path)
    with pytest.raises(ModelError, match=r"drifts|golden vectors"):
        here.install(path, [PUBLIC])
    assert not here.folder.exists()


def test_every_golden_vector_must_hold_not_the_first_alone(stick, here):
    path = write_drifting_model(stick / "m.onnx", n_right=1)
    assert load_model(path, "cpu"), "the first one holds"
    with pytest.raises(ModelError, match=r"drifts by 1\.00"):
        here.install(path, [], unsigned=True)


def test_the_twin_comes_along_and_takes_over(stick, here, caplog):
    path = write_drifting_model(stick / "m.onnx", twin_off_by=0.0)
    entry = here.install(path, [], unsigned=True)
    assert load_model(entry.path, "cpu", sha256=entry.sha256).card.precision == "fp32"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("../evil", "1"),
        ("a/b", "1"),
        ("a\\b", "1"),
        ("", "1"),
        (".hidden", "1"),
        ("tiny", "../../1"),
        ("tiny", ""),
        ("nul", "1"),
        ("COM1.onnx", "1"),
        ("keys", "1"),
        ("tiny", "1."),
        ("x" * 65, "1"),
        ("tiny@2", "1"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(stick, here, name, version):
    card = replace(tiny_card(), name=name, version=version)
    path = write_tiny_model(stick / "m.onnx", card.to_json())
    with pytest.raises(ModelError, match="cannot be installed"):
        here.install(path, [], unsigned=True)
    assert not here.folder.exists()


def test_a_new_version_is_used_and_the_old_one_can_be_gone_back_to(stick, here):
    for version in ("1", "2"):
        here.install(model_of(stick, version), [PUBLIC])
    assert here.find("tiny").version == "2"
    assert here.find("tiny@1").version == "1"
    here.use("tiny@1")
    assert here.find("tiny").version == here.find().version == "1"
    here.use("tiny@2")
    assert here.find().version == "2"


def test_a_shipped_model_is_the_default_until_another_is_chosen(stick, here):
    assert here.find().path == MODELS_FOLDER / "pneumonia-children.onnx"
    here.install(model_of(stick), [PUBLIC])
    assert here.find().name == "pneumonia-children", "installing alone changes no results"
    here.use("tiny")
    assert here.find().name == "tiny"
    here.use("chest-findings")
    assert here.find().path == MODELS_FOLDER / "chest-findings.onnx"


def test_an_installed_version_of_a_shipped_model_can_be_left_again(stick, here):
    shipped = read_model_file(MODELS_FOLDER / "pneumonia-children.onnx").card.version
    here.install(model_of(stick, "99", "pneumonia-children"), [PUBLIC])
    assert here.find().version == "99"
    here.use(f"pneumonia-children@{shipped}")
    assert here.find().shipped
    assert here.find("pneumonia-children").shipped
    assert here.find("pneumonia-children@99").version == "99"


def test_a_shipped_version_cannot_be_passed_off_as_another_file(stick, here):
    shipped = read_model_file(MODELS_FOLDER / "pneumonia-children.onnx").card.version
    with pytest.raises(ModelError, match="already, with other content"):
        here.install(model_of(stick, shipped, "pneumonia-children"), [PUBLIC])


def test_the_same_version_with_other_content_is_refused(stick, here):
    here.install(model_of(stick), [PUBLIC])
    before = state(here.folder)
    write_tiny_model(stick / "tiny 1.onnx", bias=-5.001)
    sign_file(stick / "tiny 1.onnx")
    with pytest.raises(ModelError, match=r"tiny@1 already, with other content.*model remove"):
        here.install(stick / "tiny 1.onnx", [PUBLIC])
    assert state(here.folder) == before


def test_the_same_model_installed_again_mends_a_damaged_file(stick, here):
    entry = here.install(model_of(stick), [PUBLIC])
    tamper(entry.path)
    with pytest.raises(ModelError, match="was changed or damaged"):
        load_model(entry.path, "cpu", sha256=entry.sha256)
    entry = here.install(model_of(stick), [PUBLIC])
    assert load_model(entry.path, "cpu", sha256=entry.sha256)
    assert len([e for e in here.entries() if not e.shipped]) == 1


def test_a_tampered_installed_model_is_neither_loaded_nor_made_the_default(stick, here):
    entry = here.install(model_of(stick), [PUBLIC])
    tamper(entry.path)
    with pytest.raises(ModelError, match="was changed or damaged"):
        load_model(entry.path, "cpu", sha256=entry.sha256)
    with pytest.raises(ModelError, match="was changed or damaged"):
        here.use("tiny")
    assert here.find().name == "pneumonia-children"


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_power_cut_half_way_leaves_the_old_state(stick, here, monkeypatch, after):
    """Cut before any of the steps that write: a file, the move into place, the manifest."""
    here.install(model_of(stick, "1"), [PUBLIC])
    here.use("tiny")
    old = here.find()
    path = model_of(stick, "2")
    steps = iter(range(99))
    real = Path.replace

    class PowerCut(BaseException):
        pass

    def cut(self, target):
        if next(steps) == after - 1:
            raise PowerCut
        return real(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    if after == 0:
        monkeypatch.setattr(store, "_write_durably", lambda *_: (_ for _ in ()).throw(PowerCut))
    with pytest.raises(PowerCut):
        here.install(path, [PUBLIC])
    monkeypatch.undo()
    assert here.find() == old
    assert load_model(old.path, "cpu", sha256=old.sha256)
    assert [e.version for e in here.entries() if not e.shipped] == ["1"]
    assert here.install(path, [PUBLIC]).version == "2", "and it can be installed again"


def test_a_full_disk_is_said_and_leaves_the_old_state(stick, here):
    resource = pytest.importorskip("resource")  # POSIX
    here.install(model_of(stick, "1"), [PUBLIC])
    before = state(here.folder)
    path = model_of(stick, "2")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(ModelError, match=r"cannot be installed in.*untouched"):
            here.install(path, [PUBLIC])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert state(here.folder) == before


def test_a_folder_that_cannot_be_made_is_said(stick, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be installed in"):
        Store(tmp_path / "file" / "models").install(model_of(stick), [PUBLIC])
    with pytest.raises(ModelError, match=r"cannot be written|cannot be read"):
        Store(tmp_path / "file").use("chest-findings")


def test_a_removed_model_is_gone_and_the_shipped_one_reads_again(stick, here):
    here.install(model_of(stick), [PUBLIC])
    here.use("tiny")
    assert here.remove("tiny").label == "tiny@1"
    assert here.find().name == "pneumonia-children"
    assert not [path for path in state(here.folder) if path.endswith(".onnx")]
    with pytest.raises(ModelError, match="is shipped"):
        here.remove("pneumonia-children")
    with pytest.raises(ModelError, match="no model tiny here"):
        here.remove("tiny")


def test_a_version_that_is_not_there_is_an_error_and_a_path_is_a_path(stick, here):
    here.install(model_of(stick), [PUBLIC])
    for name in ("tiny@9", "pneumonia-children@none"):
        with pytest.raises(ModelError, match=f"no {name} here"):
            here.find(name)
    with pytest.raises(ModelError, match="no model nothing here"):
        here.use("nothing")
    path = stick / "tiny 1.onnx"
    assert (here.find(str(path)).path, here.find(str(path)).sha256) == (path, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": [{"name": "tiny"}]}',
        json.dumps(
            {
                "models": [
                    {
                        "name": "../..",
                        "version": "1",
                        "sha256": "",
                        "signer": "",
                        "installed_at": "",
                    }
                ]
            }
        ),
    ],
)
def test_a_damaged_list_of_installed_models_is_said(here, text):
    here.folder.mkdir(parents=True)
    (here.folder / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json.*Delete it and install"):
        here.find("pneumonia-children")
