"""The pages as a browser gets them; tests/web/test_browser.py looks at them in one."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from cxr_edge.decoding import Picture
from cxr_edge.language import languages
from cxr_edge.ledger import Ledger, Verdict
from cxr_edge.model_card import UnsureBand
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.watch.scan import look_of
from cxr_edge.web import pages, problems
from cxr_edge.web.audit import Audit
from cxr_edge.web.problems import Problem
from cxr_edge.web.rendering import LANGUAGE_COOKIE, STATIC
from cxr_edge.web.serving import Serving
from tests.test_drift import CARD
from tests.test_profile import PROFILE
from tests.tiny_model import gated_card

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
JPEG = b"\xff\xd8\xff made"
TEMPLATES = sorted(STATIC.with_name("templates").glob("*.html"))


class Shown:
    """Stands in for Pictures: every film has the same pixels, but for those that are `gone`."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.pixels = np.array([[0, 4000], [65535, 1]], np.uint16)

    def thumbnail(self, prediction) -> bytes:
        self._there(prediction)
        return JPEG

    def picture(self, prediction) -> Picture:
        self._there(prediction)
        white = np.iinfo(self.pixels.dtype).max
        return Picture(
            self.pixels,
            low=100,
            high=4000,
            white=white,
            slope=0.5,
            intercept=-1024,
            windowed=False,
            full_shape=self.pixels.shape,
        )

    def _there(self, prediction) -> None:
        if prediction.id in self.gone:
            raise Problem(404, "film_not_there", "The film is not there any more", "Moved.")


class Site:
    """A small ledger, with a browser before it."""

    def __init__(self, folder: Path, model) -> None:
        self.folder, self.model = folder, model
        self.ledger = Ledger(folder / "ledger.db", now=lambda: NOW)
        self.pictures = Shown()
        self.trouble = ""
        self.queue = SimpleNamespace(n_waiting=0)
        self.app = FastAPI()
        self.app.state.serving = Serving(
            folder / "ledger.db",
            model,
            self.queue,
            None,
            self.pictures,
            None,
            Audit(folder / "audit.log"),
            None,
            None,
            "en",
            lambda: self.trouble,
            lambda: NOW,
        )
        problems.install(self.app, page=pages.error_page)
        self.app.include_router(pages.router)
        self.client = TestClient(self.app, headers={"Accept-Language": "en"})
        self.folder_id = self.ledger.folder_id(folder)

    def add(
        self,
        name: str,
        probability: float | None = 0.9,
        *,
        reason: str = "",
        patient: str = "",
        days_ago: float = 0,
        distance: float | None = None,
        band: tuple[float, float] | tuple[()] = (),
        profile: str = "",
    ) -> int:
        """A film that was read; the number of its prediction."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        findings = () if probability is None else (Finding("pneumonia", probability, 0.3, *band),)
        result = Result(
            source=path,
            status="ok" if findings else "refused",
            reason=reason,
            findings=findings,
            model=self.model.card.label,
            model_sha256=self.model.sha256,
            provider="CPUExecutionProvider",
            duration_ms=20.0,
            processed_at=NOW - timedelta(days=days_ago),
            sha256=f"{abs(hash(name)):064x}"[:64],
            distance=distance,
            profile=profile,
        )
        look = look_of(path.stat(), keeps_ctime=False)
        file_id = self.ledger.saw(self.folder_id, name, look)
        recorded = self.ledger.record(file_id, look, result, Identifiers(patient))
        self.ledger.finish(file_id, result.status, None, set_aside=False)
        return recorded.prediction_id

    @property
    def told(self) -> list[tuple[str, int | None]]:
        """What is in the audit log: the action, and the film."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        return [(one["action"], one.get("film")) for one in map(json.loads, lines)]


@pytest.fixture
def site(tmp_path, tiny_model):
    one = Site(tmp_path, tiny_model)
    yield one
    one.ledger.close()


def text_of(html: str) -> str:
    """What a person reads of a page, in one line."""
    html = re.sub(r"(?s)<(script|style|head)\b.*?</\1>", " ", html)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def names_of(html: str) -> list[str]:
    return [unescape(one) for one in re.findall(r'class="name"><a href="[^"]+">([^<]+)</a>', html)]


def form_of(html: str) -> dict[str, str]:
    """The hidden fields that lead from page to page."""
    fields = re.findall(r'<input type="hidden" form="filter" name="(\w+)" value="([^"]*)"', html)
    return {name: unescape(value) for name, value in fields}


def test_the_newest_film_stands_first_and_the_worst_where_asked(site):
    site.add("old.jpg", 0.99, days_ago=2)
    site.add("middle.jpg", 0.1, days_ago=1)
    site.add("new.jpg", 0.5)
    assert names_of(site.client.get("/").text) == ["new.jpg", "middle.jpg", "old.jpg"]
    by_score = site.client.get("/?order=score").text
    assert names_of(by_score) == ["old.jpg", "new.jpg", "middle.jpg"]


def test_an_empty_list_says_what_to_do(site):
    assert "No film has been read yet" in text_of(site.client.get("/").text)
    site.add("a.jpg")
    assert "No film fits" in text_of(site.client.post("/", data={"text": "nothing"}).text)


def test_films_are_filtered_by_what_the_form_says(site):
    site.add("DOE JANE.jpg", 0.9, patient="P-1")
    site.add("b.jpg", 0.1, days_ago=3)
    site.add("c.png", None, reason="blank: It is.")
    for form, names in (
        ({"text": "doe"}, ["DOE JANE.jpg"]),
        ({"text": "p-1"}, ["DOE JANE.jpg"]),
        ({"status": "negative"}, ["b.jpg"]),
        ({"status": "refused"}, ["c.png"]),
        ({"finding": "pneumonia"}, ["DOE JANE.jpg"]),
        ({"until": "2026-11-20"}, ["b.jpg"]),
        ({"verdict": "agree"}, []),
    ):
        assert names_of(site.client.post("/", data=form).text) == names, form


def test_no_address_in_the_list_holds_a_name(site):
    """Addresses stay in histories and logs."""
    site.add("DOE^JANE.jpg", patient="SECRET-7")
    html = site.client.post("/", data={"text": "DOE"}).text
    addresses = re.findall(r'(?:href|src|action|formaction)="([^"]*)"', html)
    assert addresses
    assert not [one for one in addresses if "DOE" in one or "SECRET" in one]
    assert '<form class="filter" id="filter" method="post"' in html


def test_a_long_list_has_pages_that_lead_on_and_back(site):
    with site.ledger.transaction():
        for n in range(120):
            site.add(f"{n:03}.jpg", days_ago=n / 100)
    html = site.client.get("/").text
    seen = [names_of(html)]
    for _ in range(2):
        html = site.client.post("/", data={**form_of(html), "go": "next"}).text
        seen.append(names_of(html))
    assert [len(one) for one in seen] == [50, 50, 20]
    assert [*seen[0], *seen[1], *seen[2]] == [f"{n:03}.jpg" for n in range(120)]
    assert "Next page" not in html
    html = site.client.post("/", data={**form_of(html), "go": "back"}).text
    assert names_of(html) == seen[1]
    html = site.client.post("/", data={**form_of(html), "go": "back"}).text
    assert names_of(html) == seen[0]
    assert "Films: 120" in text_of(html)


def test_a_cursor_that_is_none_leads_to_the_first_page(site):
    site.add("a.jpg")
    form = {"go": "next", "next": "'; DROP TABLE predictions; --"}
    assert names_of(site.client.post("/", data=form).text) == ["a.jpg"]


def test_a_page_asks_whether_there_is_something_new(site):
    number = site.add("a.jpg")
    site.queue.n_waiting = 3
    site.trouble = "The folder cannot be listed."
    facts = site.client.get("/live").json()
    assert facts == {"last": number, "waiting": 3, "trouble": "The folder cannot be listed."}
    assert f'data-last="{number}"' in site.client.get("/").text


@pytest.mark.parametrize(
    ("dialect", "start", "probability"),
    [
        ("standard", b"file,status,", "0.500000"),
        ("excel", b"\xef\xbb\xbffile,status,", "0.500000"),
        ("excel-semicolon", b"\xef\xbb\xbffile;status;", "0,500000"),
    ],
)
def test_the_csv_holds_every_film_that_fits(site, dialect, start, probability):
    with site.ledger.transaction():
        for n in range(60):
            number = site.add(f"{n:03}.jpg", 0.5, days_ago=n / 100)
            if n == 0:
                site.ledger.say(number, Verdict("pneumonia", "agree", "", "", NOW))
        site.add("negative.jpg", 0.1)
    answer = site.client.post("/films.csv", data={"status": "positive", "dialect": dialect})
    assert answer.headers["content-disposition"] == 'attachment; filename="cxr-edge-2026-11-22.csv"'
    assert answer.content.startswith(start)
    text = answer.content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text[:12] else ","))
    assert [Path(row["file"]).name for row in rows] == [f"{n:03}.jpg" for n in range(60)]
    assert {row["probability"] for row in rows} == {probability}
    assert [row["verdict"] for row in rows] == ["agree", *[""] * 59]
    assert site.told == [("download", None)]


def test_a_csv_of_more_films_than_one_query_brings_has_one_header(site):
    with site.ledger.transaction():
        for n in range(1100):
            site.add(f"{n:04}.jpg", days_ago=n / 1000)
    rows = site.client.post("/films.csv", data={"dialect": "standard"}).text.splitlines()
    assert len(rows) == 1101
    assert [row for row in rows if row.startswith("file,")] == rows[:1]


def test_a_film_is_shown_with_what_it_is_judged_by_and_who_judged(site):
    number = site.add("ward 3/film.jpg", 0.874, patient="P-9")
    said = text_of(site.client.get(f"/films/{number}").text)
    for fact in (
        *("film.jpg", "P-9", "positive", "0.874", "0.300", site.model.card.label),
        *(site.model.sha256, "CPUExecutionProvider", "2026-11-22", "20 ms"),
        "Not for diagnostic use.",
    ):
        assert fact in said, fact
    assert site.told == [("view_film", number)]


def test_a_refused_film_says_why_in_plain_words(site):
    number = site.add("side.dcm", None, reason="lateral: ViewPosition is LL. Send the frontal one.")
    html = site.client.get(f"/films/{number}").text
    assert "This is a lateral view. Send the frontal view (PA or AP)." in text_of(html)
    assert "ViewPosition is LL." in text_of(html)
    assert "data-heatmap" not in html


BAND = (0.2, 0.45)


def test_what_a_person_has_to_decide_is_said_in_words(site):
    number = site.add("a.jpg", 0.4, band=BAND)
    html = site.client.get(f"/films/{number}").text
    said = text_of(html)
    assert (
        "A person has to decide: for pneumonia the model is unsure from 0.200 to 0.450, and gives "
        "0.400." in said
    )
    assert "unsure: 0.200 to 0.450" in said  # beside the operating point
    assert '<rect x="20.0" y="0.0" width="25.0" height="10.0" class="unsure"/>' in html
    # A verdict is on the side that it leans to.
    assert "pneumonia: unsure, rather positive" in said
    below = site.add("b.jpg", 0.25, band=BAND)
    assert "unsure, rather negative" in text_of(site.client.get(f"/films/{below}").text)
    report = text_of(site.client.get(f"/films/{number}/report").text)
    assert "A person has to decide." in report
    assert "(unsure: 0.200 to 0.450)" in report


@pytest.mark.parametrize(("probability", "word"), [(0.9, "positive"), (0.1, "negative")])
def test_outside_the_band_nothing_is_left_to_decide(site, probability, word):
    number = site.add("a.jpg", probability, band=BAND)
    html = site.client.get(f"/films/{number}").text
    assert f'class="badge {word} large"' in html
    assert "A person has to decide:" not in text_of(html)
    assert "rather" not in text_of(html)
    # The band is shown all the same.
    assert "Between the two thin lines around it the answer is unsure" in text_of(html)


def test_a_model_without_a_band_says_nothing_of_one(site):
    html = site.client.get(f"/films/{site.add('a.jpg')}").text
    assert "unsure" not in text_of(html.partition('id="verdict"')[0])
    assert 'class="edge"' not in html


def test_the_list_shows_and_finds_what_a_person_has_to_decide(site):
    site.add("sure.jpg", 0.9, band=BAND)
    site.add("unsure.jpg", 0.4, band=BAND)
    site.add("negative.jpg", 0.1, band=BAND)
    html = site.client.get("/").text
    assert html.count('class="badge unsure"') == 1
    assert '<option value="unsure">unsure</option>' in html
    for status, names in (("unsure", ["unsure.jpg"]), ("positive", ["sure.jpg"])):
        found = site.client.post("/", data={"status": status}).text
        assert names_of(found) == names
    assert (
        '<option value="unsure" selected>unsure</option>'
        in site.client.post("/", data={"status": "unsure"}).text
    )
    # No two outcomes have the same shape.
    refused, failed = (site.add(f"{word}.jpg", None, reason="blank: It.") for word in "rf")
    assert refused != failed
    icons = re.findall(
        r'(?s)class="badge (\w+)"><svg viewBox="0 0 16 16" aria-hidden="true">(.*?)</svg>',
        site.client.get("/").text,
    )
    assert len(dict(icons)) == len(set(dict(icons).values())) == 4


def test_the_csv_says_what_a_person_has_to_decide_and_what_the_site_overrules(site):
    site.add("a.jpg", 0.4, band=BAND, profile="ward 3")
    site.add("b.jpg", 0.9, reason="accepted: lateral", days_ago=1)
    text = site.client.post("/films.csv", data={"dialect": "standard"}).text
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["answer"], first["positive"], first["site_profile"]) == (
        *("unsure", "true"),
        "ward 3",
    )
    assert (second["answer"], second["reason"]) == ("positive", "accepted: lateral")
    (only,) = csv.DictReader(
        io.StringIO(
            site.client.post("/films.csv", data={"dialect": "standard", "status": "unsure"}).text
        )
    )
    assert Path(only["file"]).name == "a.jpg"


def test_an_answer_that_overrules_a_refusal_is_marked_in_the_list_and_on_its_page(site):
    number = site.add("a.jpg", 0.9, reason="accepted: age, lateral")
    for path in ("/", f"/films/{number}", f"/films/{number}/report"):
        said = text_of(site.client.get(path).text)
        assert "read although it would be refused: age, lateral" in said
        assert "positive" in said


def test_a_film_tells_the_profile_that_judged_it_and_its_distance(site):
    number = site.add("a.jpg", profile="ward 3", distance=1.234)
    said = text_of(site.client.get(f"/films/{number}").text)
    assert "Site profile ward 3" in said
    assert "Distance 1.23" in said
    assert "ward 3" in text_of(site.client.get(f"/films/{number}/report").text)
    without = text_of(site.client.get(f"/films/{site.add('b.jpg')}").text)
    assert "Site profile" not in without
    assert "Distance" not in without


def test_the_days_films_are_counted_with_those_that_a_person_has_to_decide(site):
    site.add("a.jpg", 0.4, band=BAND)
    site.add("b.jpg", 0.9, band=BAND)
    html = site.client.get("/site").text
    assert 'fill="url(#day-unsure)"' in html
    assert '<span class="key unsure" aria-hidden="true"></span>unsure' in html
    assert "<td>1</td><td>0</td><td>1</td><td>0</td><td>0</td>" in html


def with_card(tmp_path, tiny_model, card) -> str:
    one = Site(tmp_path, replace(tiny_model, card=card))
    try:
        return text_of(one.client.get("/model").text)
    finally:
        one.ledger.close()


def test_the_model_page_says_what_it_refuses_and_where_it_is_unsure(tmp_path, tiny_model):
    band = UnsureBand("pneumonia", 0.2, 0.65, 0.95, 120, 340, "films of other patients")
    card = replace(gated_card(), unsure=(band,), age_range_years=(1.0, 5.0))
    said = with_card(tmp_path, tiny_model, card)
    for fact in (
        "Views: PA, AP.",
        "films of patients who are not 1 to 5 years old, and views other than PA, AP, are refused",
        "A JPEG or PNG tells no age",
        "What it refuses",
        *("not_a_chest_film", "inverted", "rotated_270", "unlike_training"),
        "Black and white are exchanged.",
        "refused: lateral 0.990 0.950 to 1.000 200",
        "made films of other kinds",
        "Where it is unsure",
        "pneumonia 0.200 to 0.650 95.0 % 120 340",
        "films of other patients",
    ):
        assert fact in said, fact
    assert "It cannot tell what it cannot read" not in said
    assert "It does not say where it is unsure" not in said


def test_the_model_page_says_where_a_model_cannot_tell_what_it_cannot_read(site):
    said = text_of(site.client.get("/model").text)
    assert "It cannot tell what it cannot read" in said
    assert "It does not say where it is unsure" in said
    assert "What it refuses" not in said
    assert "Where it is unsure" not in said


def test_a_film_of_another_model_has_no_heatmap_and_says_so(site, tiny_model):
    own = site.add("own.jpg")
    other = site.ledger.film(own)
    result = replace(other.result, model="older 3", model_sha256="c" * 64)
    number = site.ledger.record_again(other, result)
    html = site.client.get(f"/films/{number}").text
    assert "data-heatmap" not in html
    assert "read by older 3" in text_of(html)
    assert "data-heatmap" in site.client.get(f"/films/{own}").text
    assert "This film was read again since" in text_of(site.client.get(f"/films/{own}").text)


def test_earlier_films_of_the_patient_stand_beside_it(site):
    first = site.add("first.jpg", 0.1, patient="P-1", days_ago=9)
    site.add("another.jpg", patient="P-2", days_ago=5)
    number = site.add("second.jpg", patient="P-1")
    html = site.client.get(f"/films/{number}").text
    assert f'href="/films/{first}"' in html
    assert f'data-film="{first}" data-waits' in html
    assert "another.jpg" not in html
    assert "Earlier films" not in site.client.get(f"/films/{first}").text


def test_a_film_that_is_not_there_has_a_page_that_says_so(site):
    answer = site.client.get("/films/99")
    assert answer.status_code == 404
    assert "The ledger has no film of that number." in text_of(answer.text)
    assert site.client.get("/films/0").status_code == 422
    assert site.client.get("/films/99999999999999999999").status_code == 422


def test_the_viewer_gets_pixels_and_how_to_show_them(site):
    number = site.add("a.dcm")
    answer = site.client.get(f"/films/{number}/pixels")
    assert np.frombuffer(answer.content, "<u2").tolist() == [0, 4000, 65535, 1]
    headers = {
        name: float(answer.headers[f"x-{name}"])
        for name in ("width", "height", "bits", "low", "high", "white", "slope", "intercept")
    }
    assert list(headers.values()) == [2, 2, 16, 100, 4000, 65535, 0.5, -1024]
    site.pictures.pixels = np.array([[7, 200, 255]], np.uint8)
    answer = site.client.get(f"/films/{number}/pixels")
    assert answer.content == bytes([7, 200, 255])
    assert (answer.headers["x-bits"], answer.headers["x-width"]) == ("8", "3")
    assert site.told == [("view_picture", number)] * 2


def test_a_picture_that_cannot_be_made_is_a_problem_for_the_script(site):
    number = site.add("a.jpg")
    assert site.client.get(f"/films/{number}/thumbnail").content == JPEG
    site.pictures.gone.add(number)
    answer = site.client.get(f"/films/{number}/pixels")
    assert (answer.status_code, answer.json()["code"]) == (404, "film_not_there")
    # The words for its code stand in the page, in the person's language.
    assert "film_not_there" in site.client.get(f"/films/{number}").text


def test_a_verdict_is_kept_and_shown(site):
    number = site.add("a.jpg")
    form = {"verdict-0": "disagree", "note": "Rotated.\r\nSee <b>old</b> film", "by": " Dr. A "}
    answer = site.client.post(f"/films/{number}/verdict", data=form, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/films/{number}?saved=1#verdict"
    (said,) = site.ledger.verdicts(number)
    assert said == Verdict("pneumonia", "disagree", "Rotated.\nSee <b>old</b> film", "Dr. A", NOW)
    html = site.client.get(answer.headers["location"]).text
    assert "Thank you, it is kept." in html
    assert "Last said: disagree, Dr. A, 2026-11-22" in text_of(html)
    assert 'value="disagree" checked' in html
    assert "<b>old</b>" not in html
    assert site.told[0] == ("verdict", number)
    assert "disagree" in text_of(site.client.post("/", data={"verdict": "disagree"}).text)


def test_pressing_the_button_twice_says_it_once(site):
    number = site.add("a.jpg")
    for word in ("agree", "agree", "unsure"):
        site.client.post(f"/films/{number}/verdict", data={"verdict-0": word})
    history = [one.verdict for one in site.ledger.verdict_history(number)]
    assert history == ["agree", "unsure"]


@pytest.mark.parametrize("word", ["", "perhaps"])
def test_without_a_verdict_nothing_is_kept_and_nothing_typed_is_lost(site, word):
    number = site.add("a.jpg")
    form = {"verdict-0": word, "note": "half a thought"}
    answer = site.client.post(f"/films/{number}/verdict", data=form)
    assert answer.status_code == 422
    assert "Choose agree, disagree or unsure first." in text_of(answer.text)
    assert "half a thought" in answer.text
    assert site.ledger.verdicts(number) == []


def test_a_film_without_an_answer_has_one_verdict_as_a_whole(site):
    number = site.add("a.jpg", None, reason="blank: It is.")
    site.client.post(f"/films/{number}/verdict", data={"verdict-0": "disagree"})
    assert [(one.finding, one.verdict) for one in site.ledger.verdicts(number)] == [
        ("", "disagree")
    ]


def test_what_would_not_be_kept_is_cut_before(site):
    number = site.add("a.jpg")
    form = {"verdict-0": "agree", "note": "x\x00\x07y" + "z" * 5000, "by": "a\tb\n" + "c" * 500}
    assert site.client.post(f"/films/{number}/verdict", data=form).status_code == 200
    (said,) = site.ledger.verdicts(number)
    assert said.note.startswith("xyz")
    assert (len(said.note), len(said.by)) == (2000, 100)


def test_a_report_has_all_that_is_said_of_a_film_on_it(site):
    number = site.add("a.jpg", 0.874, patient="P-9")
    site.ledger.say(number, Verdict("pneumonia", "agree", "as I see it", "anna", NOW))
    said = text_of(site.client.get(f"/films/{number}/report").text)
    for fact in ("Not for diagnostic use", "P-9", "0.874", "0.300", "agree", "as I see it", "anna"):
        assert fact in said, fact
    assert site.model.sha256 in said
    assert site.told == [("view_report", number)]


def test_the_page_of_the_model_holds_its_card(site):
    card = site.model.card
    said = text_of(site.client.get("/model").text)
    point = card.operating_points[0]
    for fact in (
        card.label,
        card.training_data.name,
        card.training_data.licence,
        site.model.sha256,
        f"{point.threshold:.3f}",
        point.measured_on,
        "Known limits",
        "There are none beside this model.",
    ):
        assert fact in said, fact


def test_the_page_of_the_site_counts_films_and_verdicts(site):
    for n in range(4):
        number = site.add(f"{n}.jpg", 0.9 if n else 0.1, days_ago=n)
        word = "disagree" if n == 3 else "agree"
        site.ledger.say(number, Verdict("pneumonia", word, "", "anna", NOW))
    html = site.client.get("/site?days=90").text
    said = text_of(html)
    # Three positive, of which one is said to be wrong; one negative that is right.
    assert "100.0 % 34.2 % to 100.0 %, of 2" in said
    assert "50.0 % 9.5 % to 90.5 %, of 2" in said
    assert html.count('role="img"') >= 3
    assert site.client.get("/site?days=5&finding=nothing&model=none").status_code == 200


def test_a_site_without_films_has_its_page(site):
    assert "Nobody has given a verdict yet" in text_of(site.client.get("/site").text)


@pytest.fixture
def compared(tmp_path, tiny_model):
    """A site whose model's card has something to compare with."""
    one = Site(tmp_path, replace(tiny_model, card=CARD))
    yield one
    one.ledger.close()


def rows_of(html: str, title: str) -> list[list[str]]:
    """The cells of the table below that heading."""
    below = html[html.index(title) :]
    body = below[below.index("<tbody>") : below.index("</tbody>")]
    return [
        [text_of(cell) for cell in re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"(?s)<tr>(.*?)</tr>", body)
    ]


def test_the_page_of_the_site_says_whether_it_looks_like_where_the_model_was_measured(compared):
    # Sunday is today: the last full week ended seven days ago.
    with compared.ledger.transaction():
        for n in range(60):
            compared.add(f"{n}.jpg", 0.01 + n / 120, days_ago=7 + n / 10, distance=2.5)
            compared.add(f"today {n}.jpg", 0.5)
    html = compared.client.get("/site").text
    said = text_of(html)
    assert "In the week of 2026-11-09 the films (60) did not look like those" in said
    assert "run cxr-edge calibrate" in said
    assert "by chance in 1 % of weeks at most" in said
    assert "scores for pneumonia distances part that is refused" in said
    first, second, *_ = rows_of(html, "Does this site look like")
    assert first[:2] == ["2026-11-09", "60"]
    assert first[2].startswith("unlike: 1 of ")
    assert first[3].startswith("unlike: 1 of ")
    assert first[4] == "100 of 100 weeks"
    assert second == ["2026-11-02", "0", *["too few films (0)"] * 3]
    # A column of the reference, and one of the week, which lies at its top.
    distances = rows_of(html, "Distances per week")
    assert [row[0] for row in distances] == ["tests", "2026-11-09"]
    assert distances[1] == ["2026-11-09", "60", *["0"] * 9, "60"]


def test_a_site_with_a_profile_is_compared_with_its_own_films_and_drawn_with_its_threshold(
    compared,
):
    line = re.compile(r'<line class="asked"[^>]*>|<[^>]*class="asked"[^>]*>')
    with compared.ledger.transaction():
        for n in range(60):
            compared.add(f"{n}.jpg", 0.01 + n / 120, days_ago=7 + n / 10, distance=2.5)
    by_card = compared.client.get("/site").text
    far = replace(CARD.reference, distance_edges=tuple(2.15 + n / 10 for n in range(9)))
    profile = replace(PROFILE, reference=far)
    state = compared.app.state
    state.serving = replace(state.serving, profile=profile)
    html = compared.client.get("/site").text
    assert f"look like those that {profile.label} was measured on" in text_of(html)
    first, *_ = rows_of(html, "Does this site look like")
    assert not first[3].startswith("unlike")
    distances = rows_of(html, "Distances per week")
    assert distances[1] == ["2026-11-09", "60", *["0"] * 4, "60", *["0"] * 5]
    assert line.search(by_card) and line.search(html)
    assert line.search(by_card)[0] != line.search(html)[0]


def test_where_nothing_can_be_compared_the_page_says_so(site, compared):
    heading = "Does this site look like the films that the model was measured on?"
    said = text_of(site.client.get("/site").text)
    assert f"{heading} The model's card has nothing to compare with." in said
    assert "Distances per week" not in said
    said = text_of(compared.client.get("/site").text)
    assert "too few to compare, which takes 30" in said
    other = "d" * 64
    film = compared.ledger.film(compared.add("a.jpg"))
    compared.ledger.record_again(film, replace(film.result, model="other 1", model_sha256=other))
    said = text_of(compared.client.get(f"/site?model={other}").text)
    assert "Only films that the model of this page has read" in said


def test_a_person_is_told_in_the_language_of_the_browser_or_the_chosen_one(site):
    site.add("a.jpg")
    french = site.client.get("/", headers={"Accept-Language": "fr-CD,fr;q=0.9"})
    assert '<html lang="fr">' in french.text
    assert french.headers["content-language"] == "fr"
    assert "positif" in text_of(french.text)
    chosen = site.client.post(
        "/language", data={"language": "pt", "back": "/site?days=90"}, follow_redirects=False
    )
    assert chosen.headers["location"] == "/site?days=90"
    cookie = chosen.headers["set-cookie"]
    assert cookie.startswith(f"{LANGUAGE_COOKIE}=pt;")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    again = site.client.get("/", headers={"Accept-Language": "fr"})
    assert '<html lang="pt">' in again.text
    assert '<html lang="pt">' in site.client.get("/films/99").text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil", ""])
def test_the_choice_of_a_language_leads_to_no_other_site(site, back):
    answer = site.client.post(
        "/language", data={"language": "nonsense", "back": back}, follow_redirects=False
    )
    assert answer.headers["location"] == "/"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("language", ["en", *languages()])
def test_every_page_is_there_in_every_language_and_says_not_for_diagnosis(site, language):
    number = site.add("a.jpg", patient="P-1")
    site.add("b.jpg", None, reason="blank: It is.", patient="P-1", days_ago=1)
    stamp = {
        "en": "Not for diagnostic use",
        "es": "No apto para el diagnóstico",
        "fr": "Ne pas utiliser pour le diagnostic",
        "pt": "Não usar para diagnóstico",
    }[language]
    for path in ("/", f"/films/{number}", f"/films/{number}/report", "/model", "/site"):
        answer = site.client.get(path, headers={"Accept-Language": language})
        assert answer.status_code == 200
        assert f'<html lang="{language}">' in answer.text
        assert stamp in text_of(answer.text), path


def test_names_are_shown_as_they_are_and_never_run(site):
    number = site.add("<img src=x onerror=alert(1)>.jpg", patient='"><script>alert(1)</script>')
    for path in ("/", f"/films/{number}", f"/films/{number}/report"):
        html = site.client.get(path).text
        assert "<img src=x" not in html
        assert "<script>alert" not in html


def test_the_policy_of_the_page_lets_everything_in_it_work(site):
    """No script and no style stands in a page, and nothing comes from elsewhere."""
    number = site.add("a.jpg")
    for path in ("/", f"/films/{number}", f"/films/{number}/report", "/model", "/site"):
        html = site.client.get(path).text
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", html), path
        assert re.findall(r"<script(?![^>]* src=\"/static/)", html) == []
        assert re.findall(r'(?:src|href)="(?!/|#)', html) == []


def test_no_name_in_a_page_is_there_twice(site):
    number = site.add("a.jpg", patient="P-1")
    site.add("b.jpg", patient="P-1", days_ago=1)
    for path in ("/", f"/films/{number}", "/model", "/site"):
        names = re.findall(r'\sid="([^"]+)"', site.client.get(path).text)
        assert len(names) == len(set(names)), path


def test_what_pages_name_of_the_static_files_is_there():
    named = {
        name
        for path in TEMPLATES
        for name in re.findall(r"/static/([\w.-]+)", path.read_text(encoding="utf-8"))
    }
    assert named == {path.name for path in STATIC.iterdir() if path.is_file()}


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_are_for_old_browsers_too(path):
    text = re.sub(r"/\*.*?\*/|//.*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"=>|`|\b(let|const|class|async|await|import|fetch)\b(?! *[:'])", text)
