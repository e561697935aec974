"""`cxr-edge calibrate` and `cxr-edge profile`: a site's own threshold, and who is judged by it."""

import csv
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cxr_edge.calibration.films import Answered, LabelledFilms
from cxr_edge.calibration.labels import Judge
from cxr_edge.calibration.reference import site_reference
from cxr_edge.calibration.verdicts import labels_of_verdicts
from cxr_edge.cli import cli
from cxr_edge.heatmap import Overlay
from cxr_edge.interpret import on_models_scale, to_findings
from cxr_edge.isolation import IsolatedReader
from cxr_edge.ledger import Ledger, Verdict
from cxr_edge.model import load_model
from cxr_edge.model_card import N_DISTANCE_BINS, N_SCORE_BINS, FindingScores, Reference
from cxr_edge.profile import ISOTONIC, TEMPERATURE, ProbabilityMap
from cxr_edge.profiles import Profiles
from cxr_edge.reading import predict_result
from cxr_edge.terms import Terms
from cxr_edge.watch.settle import Look
from tests.conftest import make_film
from tests.test_profile import POINT, PROFILE
from tests.tiny_model import tiny_card, write_drifting_model, write_tiny_model

# The tiny model's probability rises with it.
ABSENT, PRESENT = range(60, 140, 4), range(110, 190, 4)


@pytest.fixture(autouse=True)
def profiles(tmp_path, monkeypatch) -> Profiles:
    folder = tmp_path / "profiles"
    monkeypatch.setenv("CXR_EDGE_PROFILES", str(folder))
    return Profiles(folder)


@pytest.fixture
def labels(tmp_path) -> Path:
    """20 films without pneumonia and 20 with it, brighter in the mean."""
    lines = ["file,finding,label"]
    for label, levels in (("absent", ABSENT), ("present", PRESENT)):
        for level in levels:
            make_film(tmp_path / "films" / f"{label} {level}.png", level, side=128)
            lines.append(f"films/{label} {level}.png,pneumonia,{label}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines))
    return path


def invoke(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def calibrate(model: Path, *arguments: object):
    return invoke("calibrate", "--model", model, *arguments)


def predicted(model: Path, *arguments: object) -> list[dict]:
    outcome = invoke("predict", "--model", model, "--json", *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


def add_line(labels: Path, line: str) -> None:
    with labels.open("a") as file:
        file.write(f"\n{line}")


def test_it_tells_what_the_model_is_here_and_stores_it(labels, tiny_model_path, profiles):
    outcome = calibrate(tiny_model_path, labels, "--name", "Clinic 7")
    assert outcome.exit_code == 0, outcome.output
    (path,) = profiles.paths()
    (digest,) = profiles.used().values()
    first, *_ = outcome.stdout.splitlines()
    assert first.startswith(f"Clinic 7 {digest[:8]}: tiny 1 (")
    assert "made 2" in first and "from labels.csv, 40 films" in first
    assert "pneumonia: 20 films with it, 20 without" in outcome.stdout
    for word in ("positive from", "sensitivity", "specificity", "PPV", "NPV", "probability"):
        assert f"\n  {word} " in outcome.stdout
    assert "at a prevalence of 0.500, that of these films" in outcome.stdout
    assert "too few films" in outcome.stderr and "more with it" in outcome.stderr
    assert f"Stored as Clinic 7 {digest[:8]} in {path}" in outcome.stderr
    assert "Not for diagnostic use" in outcome.stderr


def test_enough_films_are_what_later_weeks_are_compared_with(
    labels, tiny_model_path, profiles, tmp_path
):
    outcome = calibrate(tiny_model_path, labels)
    assert "Drift: later weeks here are compared with these films." in outcome.stdout
    reference = profiles.find("site").reference
    (scores,) = reference.scores
    assert (sum(scores.present), sum(scores.absent)) == (20, 20)
    before = Counter(
        (row["file"].split()[0].endswith("present"), int(row["probability"] * N_SCORE_BINS))
        for row in predicted(tiny_model_path, "--no-profile", tmp_path / "films")
    )
    for is_present, counts in ((True, scores.present), (False, scores.absent)):
        assert counts == tuple(before[is_present, place] for place in range(N_SCORE_BINS))
    # Who labels films picks such as can be read.
    assert (reference.n_films, reference.measured_on) == (0, "labels.csv")

    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([*lines[:15], *lines[-14:]]))
    outcome = calibrate(tiny_model_path, labels, "--name", "few")
    assert "Drift: too few films" in outcome.stdout
    assert profiles.find("few").reference is None


def test_what_the_site_did_not_label_is_compared_with_the_card():
    rng = np.random.default_rng(0)
    of_card = Reference(
        "test films",
        500,
        5,
        (FindingScores("a", *[(1,) * N_SCORE_BINS] * 2), FindingScores("b", *[(2,) * 20] * 2)),
        tuple(range(9)),
        (50,) * N_DISTANCE_BINS,
    )
    probability, present = rng.random(40), np.arange(40) % 2 == 0
    films = LabelledFilms("b", present, probability, np.arange(40))

    def made(n_distances: int) -> Reference:
        answered = Answered((films,), (), 0, 40, rng.random(n_distances), "")
        return site_reference(answered, of_card, "labels.csv")

    own = made(40)
    assert {one.finding: sum(one.present) for one in own.scores} == {"a": 20, "b": 20}
    assert (own.n_films, own.n_refused) == (500, 5)
    assert own.distances == (4,) * N_DISTANCE_BINS
    assert max(own.distance_edges) < 1
    # A model that tells none, or too few of them.
    assert made(0).distance_edges == of_card.distance_edges


def test_every_row_names_the_profile_and_is_judged_by_it(
    labels, tiny_model_path, profiles, tmp_path
):
    before = {row["file"]: row for row in predicted(tiny_model_path, tmp_path / "films")}
    assert calibrate(tiny_model_path, labels).exit_code == 0
    point = profiles.find("site").points[0]
    label = profiles.find("site").label
    (tmp_path / "films" / "empty.png").write_bytes(b"")
    outcome = invoke("predict", "--model", tiny_model_path, "--json", tmp_path / "films")
    assert f"Judged by the site profile {label}." in outcome.stderr
    rows = json.loads(outcome.stdout)
    assert {row["site_profile"] for row in rows} == {label}
    assert [row["status"] for row in rows].count("failed") == 1
    assert point.probability.kind == TEMPERATURE
    for row in rows:
        if row["status"] == "ok":
            (finding,) = row["all_findings"]
            own = before[row["file"]]["probability"]
            assert row["probability"] == pytest.approx(point.probability(own), rel=1e-12)
            assert finding["threshold"] == point.threshold.value
            assert (finding["unsure_from"], finding["unsure_below"]) == (
                point.unsure.low,
                point.unsure.high,
            )
            assert row["positive"] == (own >= point.model_threshold)
    csv_path = tmp_path / "r.csv"
    invoke("predict", "--model", tiny_model_path, tmp_path / "films", "--csv", csv_path)
    with csv_path.open(newline="") as file:
        assert {row["site_profile"] for row in csv.DictReader(file)} == {label}


def test_without_the_profile_nothing_has_changed(labels, tiny_model_path, tmp_path):
    film = tmp_path / "films" / "present 150.png"
    (before,) = predicted(tiny_model_path, film)
    assert calibrate(tiny_model_path, labels).exit_code == 0
    (after,) = predicted(tiny_model_path, film, "--no-profile")
    assert (after["probability"], after["site_profile"]) == (before["probability"], "")
    invoke("profile", "off")
    (off,) = predicted(tiny_model_path, film)
    assert off["probability"] == before["probability"]


def test_a_threshold_that_is_given_goes_first_and_leaves_nothing_unsure(
    labels, tiny_model_path, profiles, tmp_path
):
    assert calibrate(tiny_model_path, labels).exit_code == 0
    (row,) = predicted(tiny_model_path, tmp_path / "films" / "present 150.png", "--threshold", 0.01)
    (finding,) = row["all_findings"]
    assert (finding["threshold"], finding["unsure_from"]) == (0.01, None)
    assert row["site_profile"] == profiles.find("site").label


def test_once_the_model_changes_its_profile_is_refused_until_it_is_done_again(
    labels, tiny_model_path, tmp_path
):
    assert calibrate(tiny_model_path, labels).exit_code == 0
    newer = write_tiny_model(tmp_path / "newer.onnx", replace(tiny_card(), version="2").to_json())
    film = tmp_path / "films" / "present 150.png"
    csv_path = tmp_path / "r.csv"
    for arguments in (
        ("predict", film, "--csv", csv_path),
        ("watch", tmp_path / "films", "--csv", csv_path, "--ledger", tmp_path / "l.db"),
        ("watch", tmp_path / "films", "--csv", csv_path, "--ledger", tmp_path / "l.db", "--check"),
    ):
        outcome = invoke(*arguments, "--model", newer)
        assert outcome.exit_code == 9, outcome.output
        assert "was made for tiny 1" in outcome.stderr and "tiny 2" in outcome.stderr
        assert "Run `cxr-edge calibrate` again" in outcome.stderr
        assert "Traceback" not in outcome.output
    with Ledger(tmp_path / "l.db", read_only=True) as ledger:
        assert ledger.last_prediction_id() == 0  # the films wait
    assert predicted(newer, film, "--no-profile")[0]["site_profile"] == ""
    assert calibrate(newer, labels).exit_code == 0
    assert predicted(newer, film)[0]["site_profile"]


def test_a_profile_that_was_edited_is_refused(labels, tiny_model_path, profiles, tmp_path):
    assert calibrate(tiny_model_path, labels).exit_code == 0
    (path,) = profiles.paths()
    path.write_text(path.read_text().replace('"name": "site"', '"name": "sight"'))
    outcome = invoke("predict", "--model", tiny_model_path, tmp_path / "films")
    assert outcome.exit_code == 9
    assert "was edited or damaged" in outcome.stderr
    assert invoke("profile", "list").exit_code == 9
    assert "was edited or damaged" in invoke("profile", "list").stdout
    assert invoke("profile", "off").exit_code == 0
    assert invoke("predict", "--model", tiny_model_path, tmp_path / "films").exit_code == 0


def test_the_twin_that_steps_in_is_judged_by_the_models_profile(labels, tmp_path, profiles, caplog):
    drifting = write_drifting_model(tmp_path / "tiny.onnx", twin_off_by=0.0)
    assert calibrate(drifting, labels).exit_code == 0
    twin = profiles.find("site")
    assert twin.model_sha256 == load_model(drifting, "cpu", threads=1).sha256
    # As on a PC where the int8 file itself would have done.
    of_int8 = replace(twin, model_sha256="e" * 64, twin_sha256=twin.model_sha256)
    profiles.keep(of_int8)
    (row,) = predicted(drifting, tmp_path / "films" / "present 150.png")
    assert row["site_profile"] == of_int8.label


def test_a_dry_run_stores_nothing(labels, tiny_model_path, profiles):
    outcome = calibrate(tiny_model_path, labels, "--dry-run")
    assert outcome.exit_code == 0
    assert "Nothing was stored." in outcome.stderr and "sensitivity" in outcome.stdout
    assert not profiles.folder.exists()


def test_json_is_all_that_is_on_the_standard_output(labels, tiny_model_path, profiles):
    data = json.loads(calibrate(tiny_model_path, labels, "--json").stdout)
    assert data["label"] == profiles.find("site").label
    assert Path(data["stored_in"]) == profiles.paths()[0]
    (point,) = data["profile"]["points"]
    assert point["n_present"] == point["n_absent"] == 20
    assert data["n_missing"]["pneumonia"][0] > 0
    assert data["left_out"] == []
    shown = json.loads(invoke("profile", "show", "--json").stdout)
    assert shown[0]["points"] == data["profile"]["points"]


def test_the_prevalence_of_the_site_may_be_given(labels, tiny_model_path):
    plain, rare = (
        json.loads(calibrate(tiny_model_path, labels, "--dry-run", "--json", *more).stdout)
        for more in ((), ("--prevalence", 0.02))
    )
    plain, rare = (one["profile"]["points"][0] for one in (plain, rare))
    assert rare["ppv"]["value"] < plain["ppv"]["value"]
    assert rare["sensitivity"] == plain["sensitivity"]
    for bad in ("1", "0", "x", "effusion=0.1"):
        outcome = calibrate(tiny_model_path, labels, "--prevalence", bad)
        assert outcome.exit_code == 2
        assert f"--prevalence {bad}" in outcome.stderr


def test_the_picture_stands_alone(labels, tiny_model_path, tmp_path):
    target = tmp_path / "site.svg"
    assert calibrate(tiny_model_path, labels, "--picture", target).exit_code == 0
    svg = ET.fromstring(target.read_text(encoding="utf-8"))
    texts = "".join(svg.itertext())
    for part in ("tiny 1 at site", "pneumonia: 20 films with it, 20 without", "Not for diagnostic"):
        assert part in texts
    ns = "{http://www.w3.org/2000/svg}"
    assert len([one for one in svg.iter(f"{ns}svg") if one.get("class") == "chart"]) == 4
    assert len([one for one in svg.iter() if one.get("class") == "here"]) == 1
    shaded = [one.tag for one in svg.iter() if one.get("class") == "band"]
    assert shaded == [f"{ns}rect", f"{ns}polygon"]  # the threshold's interval, the curve's band
    assert "http" not in target.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
    for path, said in ((tmp_path / "x.png", "ends with .svg"), (tmp_path / "n/s.svg", "no folder")):
        outcome = calibrate(tiny_model_path, labels, "--picture", path)
        assert outcome.exit_code == 2
        assert said in outcome.stderr


def test_films_without_an_answer_are_named_and_left_out(labels, tiny_model_path, tmp_path):
    (tmp_path / "films" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    add_line(labels, "films/cut.png,pneumonia,present")
    outcome = calibrate(tiny_model_path, labels, "--json")
    assert outcome.exit_code == 3
    data = json.loads(outcome.stdout)
    assert [Path(one["file"]).name for one in data["left_out"]] == ["cut.png"]
    assert data["profile"]["n_left_out"] == 1
    assert "cut.png: corrupt:" in outcome.stderr
    assert "1 labelled films were refused or could not be read" in outcome.stderr


def test_where_no_film_has_an_answer_nothing_is_made(tiny_model_path, tmp_path, profiles):
    (tmp_path / "a.png").write_bytes(b"")
    path = tmp_path / "labels.csv"
    path.write_text("file,finding,label\na.png,pneumonia,present\n")
    outcome = calibrate(tiny_model_path, path)
    assert outcome.exit_code == 2
    assert "No film that is labelled for pneumonia has an answer" in outcome.stderr
    assert "empty:" in outcome.stderr and "Traceback" not in outcome.output
    assert not profiles.folder.exists()


def test_the_same_film_with_two_labels_is_a_contradiction(labels, tiny_model_path, tmp_path):
    film = tmp_path / "films" / "present 150.png"
    (tmp_path / "films" / "copy.png").write_bytes(film.read_bytes())
    before = labels.read_text()
    add_line(labels, "films/copy.png,pneumonia,absent")
    outcome = calibrate(tiny_model_path, labels)
    assert outcome.exit_code == 2
    assert f"{film} and {tmp_path / 'films' / 'copy.png'} are the same film" in outcome.stderr
    labels.write_text(before)
    add_line(labels, "films/copy.png,pneumonia,present")
    outcome = calibrate(tiny_model_path, labels)
    assert outcome.exit_code == 0
    assert "20 films with it" in outcome.stdout
    assert "1 labels are of copies of the same films and count once." in outcome.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("films/gone.png,pneumonia,present", "Line 42: there is no file"),
        ("films/present 150.png,effusion,present", "knows no finding 'effusion', only pneumonia"),
        ("films/present 150.png,pneumonia,present", "it repeats line 32"),
        ("films/present 150.png,pneumonia,perhaps", "not present or absent"),
    ],
)
def test_labels_that_are_wrong_are_told_before_any_film_is_read(
    labels, tiny_model_path, profiles, line, said
):
    add_line(labels, line)
    outcome = calibrate(tiny_model_path, labels)
    assert outcome.exit_code == 2
    assert said in outcome.stderr and "Traceback" not in outcome.output
    assert not profiles.folder.exists()


def test_the_name_of_a_file_need_not_be_unicode(labels, tiny_model_path, profiles):
    odd = labels.rename(labels.with_name(b"labels \xff.csv".decode("utf-8", "surrogateescape")))
    assert calibrate(tiny_model_path, odd).exit_code == 0
    assert invoke("profile", "show").exit_code == 0
    assert profiles.find("site").labels == odd.name


def test_labels_of_one_kind_only_or_too_few_are_no_ground(labels, tiny_model_path, profiles):
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([lines[0], *lines[21:]]))
    outcome = calibrate(tiny_model_path, labels)
    assert outcome.exit_code == 2 and "have the same label" in outcome.stderr
    labels.write_text("\n".join(lines[:29]))
    outcome = calibrate(tiny_model_path, labels)
    assert outcome.exit_code == 2
    assert (
        "8 films with pneumonia cannot promise a sensitivity of 0.9: it takes 9" in outcome.stderr
    )
    assert not profiles.folder.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name a file with labels, or say --from-page."),
        (("LABELS", "--from-page"), "Name a file with labels, or say --from-page."),
        (("LABELS", "--ledger", "l.db"), "--ledger is for --from-page."),
        (("LABELS", "--target-sensitivity", "90"), "--target-sensitivity"),
        (("LABELS", "--name", "=1+1"), "A site cannot be called '=1+1'."),
        (("gone.csv",), "gone.csv cannot be read"),
    ],
)
def test_wrong_usage_is_told(labels, tiny_model_path, arguments, said):
    arguments = [labels if one == "LABELS" else one for one in arguments]
    outcome = calibrate(tiny_model_path, *arguments)
    assert outcome.exit_code == 2
    assert said in outcome.stderr


def test_profiles_are_listed_shown_chosen_and_removed(labels, tiny_model_path, profiles):
    assert "makes one" in invoke("profile", "list").stderr
    assert "No site profile is used." in invoke("profile", "show").stderr
    assert calibrate(tiny_model_path, labels, "--name", "first").exit_code == 0
    assert calibrate(tiny_model_path, labels, "--name", "second").exit_code == 0
    listed = invoke("profile", "list").stdout
    assert "* second" in listed and "  first" in listed and len(listed.splitlines()) == 2
    assert "second" in invoke("profile", "show").stdout
    assert "is judged by first" in invoke("profile", "use", "first").stdout
    assert "first" in invoke("profile", "show").stdout
    rows = json.loads(invoke("profile", "list", "--json").stdout)
    assert {row["label"].split()[0]: row["used"] for row in rows} == {
        "first": True,
        "second": False,
    }
    assert "Removed first" in invoke("profile", "remove", "first").stdout
    assert profiles.used() == {}
    outcome = invoke("profile", "show", "first")
    assert outcome.exit_code == 9 and "There is no site profile first here." in outcome.stderr


# What the ledger knows

AGREE = Verdict("pneumonia", "agree", "", "Dr A", datetime(2026, 11, 21, tzinfo=UTC))


def say(ledger: Ledger, film: Path, model, terms: Terms, verdict: str, **changes) -> int:
    """Record a film as `watch` does, and what somebody says of it."""
    result = replace(predict_result(film, model, terms), **changes)
    look = Look(film.stat().st_size, ledger.last_prediction_id())
    folder_id = ledger.folder_id(film.parent)
    ledger.record(ledger.saw(folder_id, film.name, look), look, result)
    number = ledger.last_prediction_id()
    ledger.say(number, replace(AGREE, verdict=verdict))
    return number


@pytest.fixture
def ledger_path(labels, tiny_model, tmp_path) -> Path:
    """Verdicts on every labelled film, right ones, by the card's threshold."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for row in csv.DictReader(io.StringIO(labels.read_text())):
            film = tmp_path / row["file"]
            positive = predict_result(film, tiny_model).findings[0].positive
            right = positive == (row["label"] == "present")
            say(ledger, film, tiny_model, Terms(), "agree" if right else "disagree")
    return path


def test_verdicts_from_the_page_are_labels_as_good(labels, ledger_path, tiny_model_path):
    by_file, by_page = (
        json.loads(calibrate(tiny_model_path, "--dry-run", "--json", *source).stdout)["profile"]
        for source in ((labels,), ("--from-page", "--ledger", ledger_path))
    )
    assert by_page["labels"] == "verdicts"
    assert by_page["films_digest"] == by_file["films_digest"]
    assert by_page["points"][0]["model_threshold"] == by_file["points"][0]["model_threshold"]
    assert by_page["points"][0]["n_present"] == 20
    outcome = calibrate(tiny_model_path, "--dry-run", "--from-page", "--ledger", ledger_path)
    assert "Verdicts are on films that somebody chose to look at" in outcome.stderr


def test_verdicts_that_were_exported_are_labels_too(labels, ledger_path, tiny_model_path, tmp_path):
    exported = tmp_path / "verdicts.csv"
    invoke("export-csv", exported, "--verdicts", "--ledger", ledger_path)
    data = json.loads(calibrate(tiny_model_path, exported, "--dry-run", "--json").stdout)
    assert (data["profile"]["points"][0]["n_present"], data["profile"]["n_films"]) == (20, 40)
    other = write_tiny_model(tmp_path / "o.onnx", replace(tiny_card(), version="2").to_json())
    outcome = calibrate(other, exported)
    assert outcome.exit_code == 2
    assert "holds labels for another model: 40 verdicts" in outcome.stderr
    outcome = calibrate(other, "--from-page", "--ledger", ledger_path)
    assert outcome.exit_code == 2
    assert "The ledger has no verdicts on tiny 2" in outcome.stderr


def test_the_last_word_on_a_film_is_its_label(tmp_path, tiny_model):
    judge = Judge("tiny 1", ("pneumonia",), frozenset({tiny_model.sha256}))
    films = [make_film(tmp_path / f"{level}.png", level) for level in (200, 210, 220)]
    with Ledger(tmp_path / "l.db") as ledger:
        for film in films:
            say(ledger, film, tiny_model, Terms(), "agree")
        first = next(ledger.predictions())
        again = ledger.record_again(first, first.result)
        ledger.say(again, replace(AGREE, verdict="disagree"))
        found = labels_of_verdicts(ledger, judge)
        assert [one.present for one in found.labels] == [False, True, True]
        ledger.say(again, replace(AGREE, verdict="unsure"))
        films[1].unlink()
        say(ledger, films[2], tiny_model, Terms(), "agree", model_sha256="f" * 64)
        found = labels_of_verdicts(ledger, judge)
    assert [one.film for one in found.labels] == [films[2]]
    assert (found.n_open, found.n_gone) == (1, 1)


def test_a_verdict_on_what_the_model_was_unsure_of_is_no_label(tmp_path, tiny_model):
    judge = Judge("tiny 1", ("pneumonia",), frozenset({tiny_model.sha256}))
    film = make_film(tmp_path / "film.png", 130)
    own = predict_result(film, tiny_model).findings[0].probability
    band = replace(POINT.unsure, low=own - 0.1, high=own + 0.1)
    site = replace(POINT, unsure=band, probability=ProbabilityMap("as it is", 1.0, 0.0, ()))
    terms = Terms(profile=replace(PROFILE, points=(site,)))
    with Ledger(tmp_path / "l.db") as ledger:
        say(ledger, film, tiny_model, terms, "agree")
        found = labels_of_verdicts(ledger, judge)
        prediction = next(ledger.predictions())
    assert (found.labels, found.n_open) == ((), 1)
    assert prediction.result.profile == terms.profile.label
    assert prediction.result.findings[0].answer == "unsure"


def test_a_film_that_was_replaced_after_its_verdict_is_left_out(
    labels, ledger_path, tiny_model_path, tmp_path
):
    exported = tmp_path / "verdicts.csv"
    invoke("export-csv", exported, "--verdicts", "--ledger", ledger_path)
    make_film(tmp_path / "films" / "present 150.png", 20)
    outcome = calibrate(tiny_model_path, exported, "--dry-run")
    assert outcome.exit_code == 3
    assert "present 150.png: changed: Another film lies there now" in outcome.stderr


# How films are judged by a profile


def test_a_profile_judges_its_findings_and_the_card_the_others():
    card = tiny_card(("pneumonia", "effusion"))
    found = {one.name: one for one in to_findings([0.7, 0.7], card, Terms(profile=PROFILE))}
    pneumonia, effusion = found["pneumonia"], found["effusion"]
    assert pneumonia.probability == POINT.probability(0.7)
    assert (pneumonia.threshold, pneumonia.unsure_from, pneumonia.unsure_below) == (0.3, 0.2, 0.5)
    assert (effusion.probability, effusion.threshold, effusion.unsure_from) == (0.7, 0.5, None)
    given = Terms({"pneumonia": 0.9}, profile=PROFILE)
    (leading, _) = to_findings([0.9999, 0.1], card, given)
    assert (leading.threshold, leading.unsure_from) == (0.9, None)
    assert leading.probability == POINT.probability(0.9999)


def test_no_finding_stays_as_the_model_says_it():
    findings = ("no finding", "pneumonia")
    card = replace(tiny_card(("pneumonia",)), findings=findings, activation="softmax")
    found = {one.name: one for one in to_findings([0.4, 0.6], card, Terms(profile=PROFILE))}
    assert (found["no finding"].probability, found["no finding"].threshold) == (0.4, None)
    assert found["pneumonia"].probability == POINT.probability(0.6)


@pytest.mark.parametrize(
    "one",
    [
        ProbabilityMap("as it is", 1.0, 0.0, ()),
        ProbabilityMap(TEMPERATURE, 2.3, -1.1, ()),
        ProbabilityMap(ISOTONIC, 1.0, 0.0, ((0.0, 0.0), (0.2, 0.3), (0.9, 0.35), (1.0, 1.0))),
    ],
)
def test_what_a_profile_asks_of_the_model_can_be_told(one):
    for probability in (1e-9, 0.1, 0.2, 0.55, 0.95, 1 - 1e-9):
        assert one.inverse(one(probability)) == pytest.approx(probability, rel=1e-6)


def test_a_heatmap_asks_of_the_model_what_the_profile_does():
    """Its colours are on the model's own scale."""
    card = tiny_card()
    (finding,) = to_findings([0.7], card, Terms(profile=PROFILE))
    asked = on_models_scale(finding, PROFILE)
    assert POINT.probability(asked.threshold) == pytest.approx(finding.threshold)
    assert on_models_scale(finding, None) == finding


def test_a_reading_process_calibrates_once(tmp_path, tiny_model_path):
    model = load_model(tiny_model_path, "cpu", threads=1, heatmaps=True)
    profile = replace(PROFILE, model_sha256=model.sha256)
    terms = Terms(profile=profile)
    film = make_film(tmp_path / "film.png", 150)
    reader = IsolatedReader(model, terms, draw=True)
    try:
        answer = reader.read(film)
    finally:
        reader.close()
    here = predict_result(film, model, terms, draw=True)
    assert answer.findings == here.findings
    assert answer.findings[0].probability == POINT.probability(answer.probabilities[0])
    (overlay,) = here.overlays
    assert isinstance(overlay, Overlay) and answer.overlays[0].png == overlay.png


def test_watch_and_reprocess_name_it_in_the_ledger(labels, tiny_model_path, profiles, tmp_path):
    assert calibrate(tiny_model_path, labels).exit_code == 0
    label = profiles.find("site").label
    from cxr_edge.commands.watch import _terms
    from cxr_edge.watch.settings import ModelSettings, Settings

    settings = Settings(tmp_path, model=ModelSettings(str(tiny_model_path)))
    model = load_model(tiny_model_path, "cpu", threads=1)
    assert _terms(settings, model).profile_label == label
    off = replace(settings, model=replace(settings.model, profile=False))
    assert _terms(off, model).profile_label == ""

    ledger_path = tmp_path / "l.db"
    film = tmp_path / "films" / "present 150.png"
    with Ledger(ledger_path) as ledger:
        say(ledger, film, model, Terms(), "agree")
    outcome = invoke("reprocess", "--model", tiny_model_path, "--again", "--ledger", ledger_path)
    assert outcome.exit_code == 0, outcome.output
    assert f"Judged by the site profile {label}." in outcome.stderr
    with Ledger(ledger_path, read_only=True) as ledger:
        assert [one.result.profile for one in ledger.predictions()] == ["", label]


@pytest.mark.parametrize("command", ["calibrate", "profile list", "profile show", "profile use"])
def test_help_has_an_example_and_needs_no_numpy(command):
    code = (
        "import sys; from click.testing import CliRunner; from cxr_edge.cli import cli\n"
        f"print(CliRunner().invoke(cli, {command.split()!r} + ['--help']).output)\n"
        "print('heavy', {'numpy', 'cv2', 'onnxruntime', 'fastapi'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert f"  cxr-edge {command} " in said or f"  cxr-edge {command}\n" in said
    assert said.endswith("heavy set()\n")
