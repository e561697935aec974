"""People are spoken to in their own language; programs are not."""

import ast
import copy
import csv
import gettext
import io
import json
import logging
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from click.testing import CliRunner

from cxr_edge import language
from cxr_edge.cli import cli
from cxr_edge.commands.shown import described
from cxr_edge.errors import RecordError, UnreadableError
from cxr_edge.gate import _LIES, TOLD, UNLIKE_TRAINING
from cxr_edge.language import (
    DOMAIN,
    ConsoleFormatter,
    Message,
    catalogs,
    languages,
    posix_language,
    preferred_language,
    sentence,
    speaking,
    told,
)
from cxr_edge.model import load_model, shipped_models
from cxr_edge.reading import predict_result
from cxr_edge.refusals import ACCEPTABLE
from cxr_edge.result import Finding
from cxr_edge.watch.logs import JsonLine
from cxr_edge.words import FINDINGS, INTENDED_USES, REASONS
from tests.conftest import BROKEN, ROOT, SAMPLES, make_film

SOURCE = ROOT / "cxr_edge"


@pytest.fixture
def speak(monkeypatch):
    """Have the person speak a language."""

    def chosen(name: str) -> None:
        monkeypatch.setenv("CXR_EDGE_LANGUAGE", name)
        language._translate.cache_clear()

    yield chosen
    monkeypatch.undo()
    language._translate.cache_clear()


def catalog(name: str) -> Catalog:
    with (catalogs() / name / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        return read_po(file, locale=name, domain=DOMAIN)


@pytest.fixture(scope="module")
def messages() -> set[str]:
    """Every text of the source that a person may be told."""
    keywords = {"_": None, "Message": None, "gettext": None}
    with (catalogs() / "sources.cfg").open(encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)
    found = list(extract_from_dir(str(SOURCE), methods, options, keywords))
    assert any(one[0].endswith(".html") for one in found)
    return {one[2] for one in found}


def fields(text: str) -> list[str]:
    """What stands for facts in a text, in any order."""
    named = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    return sorted(named + re.findall(r"%\(\w+\)s|%\w", text))


def test_there_are_the_languages_of_the_clinics():
    assert {"es", "fr", "pt"} <= set(languages())


@pytest.mark.parametrize("name", languages())
def test_every_message_is_translated_and_nothing_else(name, messages):
    found = {entry.id: entry for entry in catalog(name) if entry.id}
    assert messages - found.keys() == set(), "not in the catalog"
    assert found.keys() - messages == set(), "no longer said"
    assert [entry.id for entry in found.values() if entry.fuzzy or not entry.string] == []


@pytest.mark.parametrize("name", languages())
def test_a_translation_holds_the_same_facts(name):
    for entry in catalog(name):
        if entry.id:
            assert fields(entry.string) == fields(entry.id), entry.id


@pytest.mark.parametrize("name", languages())
def test_what_is_shipped_is_made_of_what_translators_edit(name):
    made = io.BytesIO()
    write_mo(made, catalog(name))
    made.seek(0)
    with (catalogs() / name / "LC_MESSAGES" / f"{DOMAIN}.mo").open("rb") as file:
        shipped = gettext.GNUTranslations(file)._catalog
    # The entry without a name says when it was made.
    assert shipped | {"": ""} == gettext.GNUTranslations(made)._catalog | {"": ""}


def test_every_message_can_be_extracted():
    """What is handed over by a variable is in no catalog, unless it is listed somewhere."""
    given = {"_": set(), "Message": set()}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                first = node.args[0] if node.args else None
                if node.func.id in given and not isinstance(first, ast.Constant):
                    given[node.func.id].add((path.stem, ast.unparse(node)))
    assert given == {
        "Message": {("language", "Message(error.strerror or type(error).__name__)")},
        "_": {
            ("language", "_(said)"),
            ("language", "_(said.template)"),
            ("predict", "_(card.intended_use)"),
            ("words", "_(name)"),
        },
    }


def test_every_message_of_a_page_can_be_extracted():
    for path in SOURCE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"""\b_\((?!["'])""", text) == [], path.name
        # What a program says in English is told by the filter; a text that stands in a template
        # would be in no catalog.
        assert re.findall(r"""["']\s*\|\s*told""", text) == [], path.name


def test_every_code_has_its_plain_words():
    raised = {"internal_error", UNLIKE_TRAINING, *TOLD, *_LIES.values()}
    by_variable = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("UnreadableError", "RefusedError")
            ):
                if isinstance(node.args[0], ast.Constant):
                    raised.add(node.args[0].value)
                else:
                    by_variable.append(path.name)
    assert by_variable == ["gate.py"] * 3
    assert raised == REASONS.keys()
    assert raised >= ACCEPTABLE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if line.startswith(("| `refused`", "| `failed`"))]
    told_of = {code for line in lines for code in re.findall(r"`(\w+)`", line.split("|")[3])}
    assert len(lines) == 2
    assert told_of - {"watch"} <= REASONS.keys()


@pytest.mark.parametrize("name", shipped_models())
def test_what_the_shipped_models_say_is_translated(name):
    card = load_model(SOURCE / "models" / f"{name}.onnx", "cpu", threads=1).card
    assert set(card.findings) <= set(FINDINGS)
    assert card.intended_use in INTENDED_USES


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "fr_CA.UTF-8"}, "fr"),
        ({"LANG": "pt_MZ"}, "pt"),
        ({"LANG": "sw_TZ.UTF-8"}, "sw"),
        ({"LANG": "fr_FR", "LC_MESSAGES": "es_BO.UTF-8"}, "es"),
        ({"LANG": "fr_FR", "LC_MESSAGES": "es_BO", "LC_ALL": "pt_AO"}, "pt"),
        ({"LANG": "de_CH.UTF-8", "LANGUAGE": "rm:fr:de"}, "fr"),
        ({"LANG": "en_ZA.UTF-8", "LANGUAGE": "en_ZA:en:fr"}, "en"),
        ({"LANG": "fr_FR", "LANGUAGE": ""}, "fr"),
        ({"LANG": "fr_FR", "LC_ALL": "C", "LANGUAGE": "fr"}, "en"),
    ],
)
def test_the_system_names_the_language(environment, found):
    assert posix_language(environment) == found


@pytest.mark.parametrize("name", ["fr", "fr_CD", "FR-ca"])
def test_the_person_may_name_it(speak, name):
    speak(name)
    assert language.language() == "fr"
    assert told(Message("Install cxr-edge again.")) == "Réinstallez cxr-edge."


@pytest.mark.parametrize("name", ["en", "sw", "C", "../../etc"])
def test_without_a_catalog_it_is_english(speak, name):
    speak(name)
    assert told(Message("Install cxr-edge again.")) == "Install cxr-edge again."


@pytest.mark.parametrize(
    ("accepted", "found"),
    [
        ("fr", "fr"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        ("de, es;q=0.5", "es"),
        ("en;q=0.5, pt-BR;q=0.7", "pt"),
        ("fr;q=0, en", "en"),
        ("sw, de", "default"),
        ("*", "default"),
        ("", "default"),
        ("fr;q=nonsense, es;q=0.9", "fr"),
        ("../../etc, ;;,=,", "default"),
    ],
)
def test_a_browser_says_what_it_would_like(accepted, found):
    assert preferred_language(accepted, "default") == found


def test_who_opens_a_page_may_speak_another_language_than_the_pc(speak):
    speak("fr")
    message = Message("Install cxr-edge again.")
    with speaking("es"):
        assert told(message) == "Vuelva a instalar cxr-edge."
        assert language.language() == "es"
        with speaking("en"):
            assert told(message) == message
        with ThreadPoolExecutor() as pool:
            assert pool.submit(told, message).result() == "Réinstallez cxr-edge."
            context = copy_context()
            assert pool.submit(context.run, told, message).result() == told(message)
    assert told(message) == "Réinstallez cxr-edge."


def test_a_message_is_english_wherever_it_is_text(speak):
    speak("fr")
    message = Message("There is no folder {folder}.", folder=Path("/a {b}"))
    assert message == f"There is no folder {Path('/a {b}')}."
    assert json.loads(json.dumps(message)) == message
    assert told(message) == f"Le dossier {Path('/a {b}')} n'existe pas."
    for same in (copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert told(same) == told(message)


def test_what_is_in_a_message_is_translated_too(speak):
    speak("es")
    full = language.why(OSError(28, "No space left on device"))
    error = RecordError(
        Message("{path} cannot be written ({why}).", path="r.csv", why=full),
        Message("Check permission and free space."),
    )
    spanish = (
        "No se puede escribir r.csv (el disco está lleno). "
        "Compruebe los permisos y el espacio libre."
    )
    assert str(error).startswith("r.csv cannot be written (No space left on device).")
    assert told(error) == spanish
    both = Message.joined((sentence(error), "", Message("The rows wait in the ledger.")))
    assert told(both) == f"{spanish} Las filas esperan en el registro."
    assert both == f"{error} The rows wait in the ledger."


def test_an_error_of_a_film_begins_with_its_code():
    error = UnreadableError("empty", "The file has zero bytes.", "Copy it again.")
    assert told(error) == str(error) == "empty: The file has zero bytes. Copy it again."


def test_text_that_no_catalog_has_stays_as_it_is(speak):
    speak("fr")
    assert told("") == ""
    assert told("DOE {JANE} 100 %") == "DOE {JANE} 100 %"


def test_the_console_speaks_and_the_log_file_stays_english(speak):
    speak("fr")
    record = logging.LogRecord(
        *("cxr_edge", logging.WARNING, "csv_view.py", 1),
        *(Message("No longer: %s"), (Message("The rows wait in the ledger."),), None),
    )
    said = ConsoleFormatter("%(message)s").format(record)
    assert said == "Résolu : Les lignes attendent dans le registre."
    assert json.loads(JsonLine().format(record))["message"] == (
        "No longer: The rows wait in the ledger."
    )


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_predict_speaks_french_to_a_person(speak, tmp_path, tiny_model_path):
    speak("fr")
    film = make_film(tmp_path / "cliché.png", 200)
    outcome = run("predict", "--model", tiny_model_path, film, BROKEN / "zero-bytes.jpg")
    assert outcome.exit_code == 3
    heading, read, failed = outcome.stdout.splitlines()
    assert heading.split() == ["fichier", "anomalie", "score", "résultat"]
    assert read.split()[-3] == "pneumonie"
    assert read.endswith("positif")
    assert failed.endswith("non lu  empty: Le fichier est vide. Copiez-le à nouveau.")
    assert "Clichés : 2 (positifs : 1, négatifs : 0, incertains : 0, " in outcome.stderr
    assert "Ne pas utiliser pour le diagnostic" in outcome.stderr


def test_what_programs_read_is_the_same_in_every_language(speak, tmp_path, tiny_model_path):
    film = make_film(tmp_path / "film.png", 200)
    tables, data = [], []
    for name in ("en", "fr"):
        speak(name)
        table = tmp_path / f"{name}.csv"
        films = (film, BROKEN / "zero-bytes.jpg")
        assert run("predict", "--model", tiny_model_path, *films, "--csv", table).exit_code == 3
        with table.open(newline="", encoding="utf-8") as file:
            tables.append([(*row[:9], row[15]) for row in csv.reader(file)])
        found = json.loads(run("predict", "--model", tiny_model_path, *films, "--json").stdout)
        data.append([(one["status"], one["reason"], one["finding"]) for one in found])
    assert tables[0] == tables[1]
    assert data[0] == data[1]


def test_in_english_a_person_is_told_the_whole_reason(tiny_model):
    result = predict_result(BROKEN / "truncated.jpg", tiny_model)
    assert described(result).endswith(f"failed, {result.reason}")


def test_a_line_says_that_a_person_has_to_decide_and_what_the_site_overrules(tiny_model):
    result = replace(
        predict_result(SAMPLES / "normal-1.jpg", tiny_model),
        source=Path("a.jpg"),
        findings=(Finding("pneumonia", 0.6, 0.5, 0.4, 0.7),),
    )
    decide = "a.jpg: unsure for pneumonia, score 60; a person has to decide"
    assert described(result) == decide
    accepted = replace(result, reason="accepted: age, lateral")
    assert described(accepted) == f"{decide}; read although it would be refused: age, lateral"


def test_an_error_is_told_in_the_persons_language(speak, tmp_path):
    speak("pt")
    outcome = run("predict", make_film(tmp_path / "f.png"), "--csv", tmp_path / "none" / "r.csv")
    assert outcome.exit_code == 6
    assert outcome.stderr.startswith(f"Erro: A pasta {tmp_path / 'none'} não existe.")


def test_help_is_english(speak):
    english = run("start", "--help").stdout
    speak("fr")
    assert run("start", "--help").stdout == english
