"""The walls of the house: what the runtime may load, what a wheel holds, what papers promise."""

import ast
import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

FORBIDDEN = {"torch", "train", "export", "onnx", "matplotlib"}


def python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def test_reading_a_film_loads_neither_torch_nor_training_nor_export(tiny_model_path, tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.conftest import make_film\n"
        "from cxr_edge import load_model, predict\n"
        "import cxr_edge.cli, cxr_edge.watch, cxr_edge.record, cxr_edge.dicom\n"
        "predict(make_film(Path(sys.argv[2])), load_model(sys.argv[1]))\n"
        f"print(sorted({FORBIDDEN!r} & set(sys.modules)))"
    )
    assert python("-c", code, str(tiny_model_path), str(tmp_path / "film.png")).strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "cxr_edge").rglob("*.py")), ids=lambda p: p.name)
def test_no_module_of_the_runtime_names_what_it_must_not_import(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        assert not {name.split(".")[0] for name in names} & FORBIDDEN


def test_help_and_version_answer_without_loading_numpy():
    code = (
        "import sys; from click.testing import CliRunner; from cxr_edge.cli import cli\n"
        "CliRunner().invoke(cli, ['predict', '--help']); CliRunner().invoke(cli, ['--version'])\n"
        "print({'numpy', 'cv2', 'onnxruntime', 'pydicom', 'nacl'} & set(sys.modules))"
    )
    assert python("-c", code).strip() == "set()"


def test_the_wheel_holds_cxr_edge_and_its_model_alone(tmp_path):
    # From a copy, so that the checkout gets no build folders.
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(tmp_path / "copy")]
        if (ROOT / ".git").exists()
        else ["cp", "-r", str(ROOT), str(tmp_path / "copy")],
        check=True,
    )
    python(
        *("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *("-w", str(tmp_path), str(tmp_path / "copy")),
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"cxr_edge"}
    assert "cxr_edge/py.typed" in names
    assert {
        "cxr_edge/models/pneumonia-children.onnx",
        "cxr_edge/models/manifest.json",
        "cxr_edge/models/pneumonia-children.evidence.json",
        "cxr_edge/commands/predict.py",
        "cxr_edge/web/static/viewer.js",
        "cxr_edge/web/templates/film.html",
        "cxr_edge/locale/fr/LC_MESSAGES/cxr-edge.mo",
    } <= set(names)


def test_onnxruntime_is_in_one_extra_each_and_not_in_the_base():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert "onnxruntime" not in setup["options"]["install_requires"]
    extras = setup["options.extras_require"]
    assert re.findall(r"onnxruntime[\w-]*", extras["cpu"]) == ["onnxruntime"]
    assert re.findall(r"onnxruntime[\w-]*", extras["gpu"]) == ["onnxruntime-gpu"]
    assert re.findall(r"onnxruntime[\w-]*", extras["dml"]) == ["onnxruntime-directml"]


def test_ci_runs_the_readmes_own_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [
        line
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if "pip install" in line
    ]
    assert len(lines) == 2
    for line in lines:
        assert line in readme.splitlines()


def test_the_public_names_are_there_in_three_lines(tiny_model_path, tmp_path):
    code = (
        "from tests.conftest import make_film; from pathlib import Path; import sys\n"
        "make_film(Path(sys.argv[2]), 200)\n"
        "from cxr_edge import load_model, predict\n"
        "model = load_model(sys.argv[1])\n"
        "print(predict(sys.argv[2], model)[0].positive)"
    )
    assert python("-c", code, str(tiny_model_path), str(tmp_path / "f.png")).strip() == "True"


def test_every_public_name_can_be_imported():
    import cxr_edge

    for name in cxr_edge.__all__:
        assert getattr(cxr_edge, name) is not None
    with pytest.raises(AttributeError):
        _ = cxr_edge.nonsense


def test_no_tracked_file_is_a_real_film():
    """Samples are made; models are trained here. Nothing of the data sets is tracked."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    suffixes = {".jpeg", ".tar", ".pth", ".pt"}
    assert [n for n in listed.stdout.splitlines() if Path(n).suffix in suffixes] == []
