"""The worklist: of each film what was said of it last, page by page."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cxr_edge.errors import LedgerError
from cxr_edge.ledger import Ledger, Prediction, Verdict, Wanted, database, schema
from cxr_edge.result import Finding, Identifiers
from cxr_edge.watch.settle import Look
from tests.older_ledger import older_ledger
from tests.test_ledger import FOLDER, NOW, result

NEW = "d" * 64


def shown(films: list[Prediction]) -> str:
    return "".join(film.result.source.stem for film in films)


class Site:
    """A ledger that films come into, a minute after one another."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.n_films = 0

    def record(
        self,
        name: str,
        probability: float | None = 0.9,
        folder: Path = FOLDER,
        patient: str = "",
        **changes: object,
    ) -> int:
        """What is said of <name>.jpg; its content is new, unless `sha256` says otherwise. Returns
        the number of what answers for it."""
        self.n_films += 1
        source = changes.pop("source", folder / f"{name}.jpg")
        values: dict[str, object] = {
            "sha256": f"{self.n_films:064x}",
            "processed_at": NOW + timedelta(minutes=self.n_films),
        }
        if probability is not None:
            values["findings"] = findings(pneumonia=probability)
        made = replace(result(**(values | changes)), source=source)
        look = Look(self.n_films, 2, 3)
        file_id = self.ledger.saw(self.ledger.folder_id(folder), f"{name}.jpg", look)
        said = self.ledger.record(file_id, look, made, Identifiers(patient))
        return said.prediction_id

    def no_answer(self, name: str, status: str = "refused", code: str = "colour", **more) -> int:
        reason = {"status": status, "reason": f"{code}: it is.", "findings": ()}
        return self.record(name, None, **{**reason, **more})

    def say(self, number: int, verdict: str, finding: str = "pneumonia") -> None:
        self.ledger.say(number, Verdict(finding, verdict, "", "", NOW))

    def shown(self, **wanted) -> str:
        """All pages of two films."""
        return "".join(map(shown, self.pages(**wanted)))

    def pages(self, **wanted) -> Iterator[list[Prediction]]:
        cursor = ""
        while True:
            page = self.ledger.page(Wanted(**wanted), 2, cursor)
            yield page.films
            cursor = page.next_cursor
            if not cursor:
                return


def findings(**probabilities: float) -> tuple[Finding, ...]:
    """As interpret.py orders them."""
    made = [Finding(name, share, 0.5) for name, share in probabilities.items()]
    return tuple(sorted(made, key=lambda one: (one.positive, one.probability), reverse=True))


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    made = Site(tmp_path / "ledger.db")
    yield made
    made.ledger.close()


def check_derived(ledger: Ledger) -> None:
    """What the triggers keep is what follows from the predictions and verdicts, by the long way."""
    latest: dict[object, int] = {}
    for number, sha256, file_id, answer in ledger.all(
        "SELECT predictions.id, predictions.sha256, file_id, prediction_id FROM predictions "
        "JOIN files ON files.id = file_id ORDER BY predictions.id"
    ):
        if sha256 or answer == number:
            latest[sha256 or file_id] = number
    rows = []
    for number in latest.values():
        film = ledger.film(number)
        assert film is not None
        said = {one.finding: one.verdict for one in ledger.verdicts(number)}
        outcome = film.result.status
        leading = film.result.findings[0] if film.result.findings else None
        rank = -1.0
        if outcome == "ok":
            assert leading is not None
            outcome = leading.answer
            rank = leading.positive + leading.probability
        bits = {"agree": 1, "disagree": 2, "unsure": 4}
        of_film = sum(bits[verdict] for verdict in set(said.values()))
        rows.append(("", number, leading and leading.probability, rank, outcome, of_film))
        rows += [
            (
                *(one.name, number, one.probability, one.probability if one.positive else None),
                *(outcome, bits.get(said.get(one.name, ""), 0)),
            )
            for one in film.result.findings
        ]
    kept = ledger.all(
        "SELECT finding, prediction_id, probability, rank, outcome, verdicts FROM judged"
    )
    assert sorted(kept, key=lambda row: row[:2]) == sorted(rows, key=lambda row: row[:2])
    flagged = ledger.all("SELECT id FROM predictions WHERE is_latest ORDER BY id")
    assert [row[0] for row in flagged] == sorted(latest.values())


def test_the_newest_films_come_first_page_by_page(site):
    for name in "abcde":
        site.record(name)
    assert [shown(page) for page in site.pages()] == ["ed", "cb", "a"]
    assert site.ledger.page(Wanted(), 5).next_cursor == ""


def test_an_empty_ledger_has_one_empty_page(site):
    page = site.ledger.page(Wanted(), 10)
    assert (page.films, page.next_cursor) == ([], "")
    assert site.ledger.n_films(Wanted()) == 0


def test_a_film_comes_as_it_was_recorded(site):
    number = site.record("a", patient="patient-1")
    (film,) = site.ledger.page(Wanted(), 10).films
    assert film == next(site.ledger.predictions()) == site.ledger.film(number)
    assert site.ledger.film(99) is None


def test_positive_films_come_first_where_the_highest_score_is_asked_for(site):
    site.record("a", findings=(Finding("pneumonia", 0.6, 0.5),))
    site.record("b", findings=(Finding("pneumonia", 0.7, 0.8),))  # higher, and yet negative
    site.record("c", findings=(Finding("pneumonia", 0.3, 0.2),))
    site.no_answer("d")
    site.record("e", findings=(Finding("no finding", 0.99, None), Finding("pneumonia", 0.01, 0.2)))
    site.no_answer("f", "failed", "corrupt")
    site.record("g", findings=(Finding("pneumonia", 0.6, 0.5),))  # as much as a, and newer
    assert site.shown(by_score=True) == "gacebfd"


def test_the_highest_score_of_a_finding_is_its_own(site):
    site.record("a", findings=findings(pneumonia=0.9, effusion=0.6))
    site.record("b", findings=findings(pneumonia=0.1, effusion=0.7))
    site.record("c", findings=findings(pneumonia=0.99, effusion=0.2))
    assert site.shown(by_score=True, finding="effusion") == "ba"
    assert site.shown(finding="effusion") == "ba"
    assert site.shown(by_score=True, finding="pneumonia") == "ca"
    assert site.shown(by_score=True, finding="measles") == ""
    assert site.ledger.findings() == ["effusion", "pneumonia"]


@pytest.fixture
def mixed(site) -> Site:
    """Positive a and b, negative c and d, refused e, failed f."""
    site.record("a", 0.9)
    site.record("b", 0.8)
    site.record("c", 0.3)
    site.record("d", 0.2)
    site.no_answer("e")
    site.no_answer("f", "failed", "corrupt")
    return site


@pytest.mark.parametrize(
    ("status", "newest", "highest"),
    [
        ("", "fedcba", "abcdfe"),
        ("positive", "ba", "ab"),
        ("negative", "dc", "cd"),
        ("ok", "dcba", "abcd"),
        ("refused", "e", "e"),
        ("failed", "f", "f"),
    ],
)
def test_films_are_chosen_by_what_became_of_them(mixed, status, newest, highest):
    assert mixed.shown(status=status) == newest
    assert mixed.shown(status=status, by_score=True) == highest
    assert mixed.ledger.n_films(Wanted(status=status)) == len(newest)
    found = {"": "ba", "positive": "ba", "ok": "ba"}.get(status, "")
    assert mixed.shown(status=status, finding="pneumonia") == found


@pytest.mark.parametrize(
    ("status", "newest", "highest", "of_the_finding"),
    [
        ("", "hgfedcba", "abghcdfe", "gba"),
        ("positive", "ba", "ab", "ba"),
        ("unsure", "hg", "gh", "g"),
        ("negative", "dc", "cd", ""),
        ("ok", "hgdcba", "abghcd", "gba"),
    ],
)
def test_films_that_a_person_has_to_decide_are_found_and_lie_by_their_score(
    mixed, status, newest, highest, of_the_finding
):
    mixed.record("g", findings=(Finding("pneumonia", 0.6, 0.5, 0.4, 0.7),))
    mixed.record("h", findings=(Finding("pneumonia", 0.4, 0.5, 0.4, 0.7),))
    check_derived(mixed.ledger)
    assert mixed.shown(status=status) == newest
    assert mixed.shown(status=status, by_score=True) == highest
    assert mixed.ledger.n_films(Wanted(status=status)) == len(newest)
    assert mixed.shown(status=status, finding="pneumonia") == of_the_finding


def test_a_band_distance_and_profile_are_kept(site):
    within = (Finding("pneumonia", 0.6, 0.5, 0.4, 0.7),)
    number = site.record("a", findings=within, distance=1.25, profile="ward 3")
    film = site.ledger.film(number)
    assert film is not None
    assert film.result.findings == within
    assert (film.result.distance, film.result.profile) == (1.25, "ward 3")


def test_films_are_chosen_by_when_they_were_read(mixed):
    two, five = NOW + timedelta(minutes=2), NOW + timedelta(minutes=5)
    assert mixed.shown(since=two, until=five) == "dcb"
    assert mixed.shown(since=two, until=five, by_score=True) == "bcd"
    assert mixed.shown(since=two.astimezone()) == "fedcb"
    assert mixed.shown(until=two, status="positive") == "a"
    assert mixed.ledger.n_films(Wanted(since=two, until=five)) == 3


def test_counting_films_stops_where_it_may(mixed):
    assert mixed.ledger.n_films(Wanted(), 4) == 4


def test_films_are_chosen_by_the_last_verdict(mixed):
    numbers = {film.result.source.stem: film.id for film in mixed.ledger.page(Wanted(), 9).films}
    mixed.say(numbers["a"], "disagree")
    mixed.say(numbers["a"], "agree")
    mixed.say(numbers["b"], "disagree")
    mixed.say(numbers["c"], "unsure")
    mixed.say(numbers["e"], "agree", "")
    check_derived(mixed.ledger)
    assert mixed.shown(verdict="agree") == "ea"
    assert mixed.shown(verdict="disagree") == "b"
    assert mixed.shown(verdict="unsure", by_score=True) == "c"
    assert mixed.shown(verdict="none") == "fd"
    assert mixed.shown(verdict="agree", status="refused") == "e"


def test_a_verdict_on_one_finding_is_none_on_another(site):
    number = site.record("a", findings=findings(pneumonia=0.9, effusion=0.8))
    site.say(number, "disagree", "effusion")
    assert site.shown(verdict="disagree") == site.shown(verdict="disagree", finding="effusion")
    assert site.shown(verdict="none", finding="pneumonia") == "a"
    assert site.shown(verdict="disagree", finding="pneumonia") == ""
    site.say(number, "agree", "pneumonia")
    assert site.shown(verdict="disagree") == site.shown(verdict="agree") == "a"
    assert site.shown(verdict="none") == ""
    check_derived(site.ledger)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("WARD", "w"),
        ("ard 3/", "w"),
        (".JPG", "owmup%"),
        ("müller", "m"),
        ("MÜLL", "m"),
        ("ЛЁГКИЕ", "m"),
        ("pat-00", "p"),
        ("100%", "%"),
        ("_", ""),
        ("*", ""),
        ("[", ""),
        ("!", "!"),
        ("films", ""),  # the folder's name is no film's
        ("\udcff", ""),
        ("nobody", ""),
    ],
)
def test_films_are_found_by_a_part_of_their_name_or_patient(site, text, names):
    site.record("!-", source=FOLDER / "!")
    site.record("100%", source=FOLDER / "%.jpg")
    site.record("p", source=FOLDER / "p.jpg", patient="PAT-0012")
    site.record("100%2", source=FOLDER / "u\udcff.jpg")
    site.record("m", source=FOLDER / "m Müller лёгкие.jpg")
    site.record("w", source=FOLDER / "Ward 3/w.jpg")
    site.record("o", source=Path("o.jpg"))  # a pseudonym
    if text == "100%":
        site.record("x", source=FOLDER / "100%.jpg")
        names = "1"
    found = site.ledger.page(Wanted(text=text), 9).films
    assert "".join(film.result.source.name[0] for film in found) == names
    assert site.ledger.n_films(Wanted(text=text)) == len(names)
    by_score = site.ledger.page(Wanted(text=text, by_score=True), 9).films
    assert {film.id for film in by_score} == {film.id for film in found}
    of_finding = site.ledger.page(Wanted(finding="pneumonia", text=text), 9).films
    assert [film.id for film in of_finding] == [film.id for film in found]


def test_pages_of_films_with_a_text_follow_one_another(site):
    for name, share in zip("abcde", (0.1, 0.9, 0.5, 0.7, 0.6), strict=True):
        site.record(name, share)
    assert [shown(page) for page in site.pages(text="jpg", by_score=True)] == ["bd", "ec", "a"]
    assert site.shown(text="JPG", finding="pneumonia", by_score=True) == "bdec"


def test_films_that_come_in_while_somebody_turns_pages_move_no_other(site):
    for n in range(12):
        site.record(f"{n}", 0.1 + 0.8 * (n * 5 % 12) / 12)
    for wanted in (Wanted(), Wanted(by_score=True), Wanted(status="ok", by_score=True)):
        there = {film.id for film in site.ledger.page(wanted, 99).films}
        page = site.ledger.page(wanted, 2)
        seen = [film.id for film in page.films]
        for share in (0.95, 0.05, 0.65, 0.5):
            site.record("new", share)
            site.no_answer("none")
            page = site.ledger.page(wanted, 2, page.next_cursor)
            seen += [film.id for film in page.films]
        seen += [film.id for film in site.ledger.page(wanted, 99, page.next_cursor).films]
        assert len(seen) == len(set(seen))
        assert there <= set(seen)


def test_films_of_the_same_moment_are_all_shown(site):
    for name in "abcde":
        site.record(name, 0.9, processed_at=NOW)
    assert site.shown() == site.shown(by_score=True) == "edcba"


def test_a_cursor_says_nothing_of_a_patient_and_fits_into_an_address(site):
    for name in ("Mrs Secret", "b", "c"):
        site.record(name, patient="PAT-0012")
    for by_score in (False, True):
        cursor = site.ledger.page(Wanted(by_score=by_score), 1).next_cursor
        assert cursor.replace("-", "").isalnum() and cursor.isascii() and len(cursor) < 40
        number = site.ledger.page(Wanted(by_score=by_score), 1).films[0].id
        assert cursor.endswith(f"-{number:x}")


@pytest.mark.parametrize(
    "cursor",
    [
        *("x", "t", "t-", "t1-", "t1", "-1", "t1-1-1", "t1-1\n", " t1-1", "t1-1 ", "T1-1", "t-1-1"),
        *("t１-1", "s1-1", "t1-" + "f" * 16, "t" + "f" * 15 + "-1", "s7ff8000000000000-1"),
        *("s7ff0000000000000-1", "s" + "0" * 17 + "-1", "t1-1' OR 1=1", "\0", "t1-1" * 9999),
    ],
)
def test_a_cursor_of_nobodys_is_refused(site, cursor):
    for by_score in (False, True):
        with pytest.raises(ValueError, match="cursor"):
            site.ledger.page(Wanted(by_score=by_score), 1, cursor)


def test_a_cursor_of_the_other_order_is_refused(site):
    for name in "ab":
        site.record(name)
    for by_score in (False, True):
        cursor = site.ledger.page(Wanted(by_score=by_score), 1).next_cursor
        with pytest.raises(ValueError, match="cursor"):
            site.ledger.page(Wanted(by_score=not by_score), 1, cursor)


def test_an_unknown_word_is_refused(site):
    for wanted in (Wanted(status="fine"), Wanted(verdict="maybe"), Wanted(text="x" * 1001)):
        with pytest.raises(ValueError, match=r"no status|no verdict|longer than 1000"):
            site.ledger.page(wanted, 1)


def test_a_film_in_two_folders_is_one(site):
    first = site.record("a", sha256="a" * 64)
    second = site.record("a", folder=Path("/elsewhere"), sha256="a" * 64)
    assert [film.id for film in site.ledger.page(Wanted(), 9).films] == [second]
    assert not site.ledger.is_latest(first) and site.ledger.is_latest(second)
    assert site.ledger.film(first) is not None
    check_derived(site.ledger)


def test_a_film_in_anothers_place_is_a_film_of_its_own(site):
    site.record("a", 0.9, sha256="a" * 64)
    site.record("a", 0.2, sha256="b" * 64)
    assert site.shown() == "aa"
    assert site.shown(status="negative") == "a"
    check_derived(site.ledger)


def test_what_another_model_says_takes_the_place_of_what_was_said(site):
    number = site.record("a", 0.9)
    site.record("b", 0.8)
    site.say(number, "disagree")
    film = site.ledger.film(number)
    assert film is not None
    other = result(
        *("a.jpg", film.result.sha256),
        model_sha256=NEW,
        findings=findings(effusion=0.7),
        processed_at=NOW + timedelta(hours=1),
    )
    again = site.ledger.record_again(film, other)
    assert site.ledger.page(Wanted(), 1).films[0].id == again
    assert site.shown(finding="pneumonia") == "b"
    assert site.shown(finding="effusion") == "a"
    # What was said of the first answer is not said of the second.
    assert site.shown(verdict="none") == "ab"
    assert not site.ledger.is_latest(number)
    check_derived(site.ledger)


def test_a_film_of_which_nothing_could_be_had_makes_way_for_any_answer_of_its_file(site):
    locked = {"status": "failed", "code": "no_permission", "sha256": ""}
    site.no_answer("a", **locked)
    site.no_answer("b", **locked)
    assert site.shown(status="failed") == "ba"
    site.no_answer("a", **locked)
    assert site.shown(status="failed") == "ab"
    check_derived(site.ledger)
    site.record("a", sha256="a" * 64)
    assert site.shown() == "ab"
    site.record("b", sha256="a" * 64)
    assert site.shown() == "b"
    check_derived(site.ledger)


def test_what_is_forgotten_is_not_shown_and_its_verdicts_go_with_it(site):
    kept = site.record("a", processed_at=NOW + timedelta(days=3))
    old = site.record("b", processed_at=NOW, sha256="b" * 64)
    for number in (kept, old):
        site.say(number, "agree")
    site.ledger.finish_in_place(site.ledger.folder_id(FOLDER), 99, ["ok"])
    assert site.ledger.forget_results(NOW + timedelta(days=1)) == 1
    assert site.shown() == "a"
    assert site.ledger.all("SELECT prediction_id FROM verdicts") == [(kept,)]
    check_derived(site.ledger)


def test_an_earlier_answer_is_the_last_again_when_the_later_one_goes(site):
    """The folder whose film was read last is forgotten, or the clock was set back meanwhile."""
    first = site.record("a", sha256="a" * 64)
    site.say(first, "unsure")
    elsewhere = Path("/elsewhere")
    site.record("a", folder=elsewhere, sha256="a" * 64)
    assert site.shown(verdict="none") == "a"
    file = site.ledger.file(site.ledger.folder_id(elsewhere), "a.jpg")
    assert file is not None
    site.ledger.forget_file(file.id)
    assert site.ledger.is_latest(first)
    assert site.shown(verdict="unsure") == "a"
    check_derived(site.ledger)


def test_earlier_films_are_other_films_of_the_patient_read_before(site):
    site.record("a", patient="PAT-1")
    site.record("b", patient="PAT-2")
    site.no_answer("c", patient="PAT-1")
    site.record("d", patient="PAT-1", sha256="d" * 64)
    site.record("d", patient="PAT-1", sha256="d" * 64, folder=Path("/elsewhere"))
    last = site.record("e", patient="PAT-1")
    site.record("f", patient="PAT-1")
    unknown = site.record("g")
    site.record("h")

    def earlier(number: int, **more) -> str:
        film = site.ledger.film(number)
        assert film is not None
        return shown(site.ledger.earlier_films(film, **more))

    assert earlier(last) == "dca"
    assert earlier(last, limit=2) == "dc"
    assert earlier(last - 1) == "ca"
    assert earlier(unknown) == ""


def test_a_film_lies_where_it_was_moved_to_or_under_any_of_its_names(site):
    number = site.record("a", sha256="a" * 64)
    site.record("copy", sha256="a" * 64)
    moved = site.record("b")
    film, other = site.ledger.film(number), site.ledger.film(moved)
    assert film is not None and other is not None
    site.ledger.finish(other.file_id, "ok", Path("/done/b (2).jpg"), False)
    assert site.ledger.places(film) == [FOLDER / "a.jpg", FOLDER / "copy.jpg"]
    assert site.ledger.places(other) == [Path("/done/b (2).jpg")]
    site.record("a", sha256="c" * 64)  # another film lies there now
    assert site.ledger.places(film) == [FOLDER / "copy.jpg"]


def test_a_film_with_a_pseudonym_is_found_only_where_it_was_moved_to(site):
    number = site.record("film-1", source=Path("film-1.jpg"))
    film = site.ledger.film(number)
    assert film is not None
    assert site.ledger.places(film) == []
    site.ledger.finish(film.file_id, "ok", Path("/done/x.jpg"), False)
    assert site.ledger.places(film) == [Path("/done/x.jpg")]


def test_a_probability_that_is_no_number_keeps_no_film_from_being_recorded(site):
    site.record("a", findings=(Finding("pneumonia", float("nan"), 0.5),))
    assert site.shown(status="negative") == "a"


WANTED = [
    {"finding": finding, "status": status, "verdict": verdict, "since": since, "text": text}
    for finding in ("", "pneumonia")
    for status in ("", "ok", "failed")
    for verdict in ("", "none", "disagree")
    for since in (None, NOW)
    for text in ("", "müller")
]


@pytest.mark.parametrize("by_score", [False, True])
def test_no_page_sorts_all_films_or_looks_each_up(site, by_score):
    """But where a text is looked for among the highest scores."""
    for name in "abc":
        site.record(name)
    for chosen in WANTED:
        wanted = Wanted(**chosen, by_score=by_score)
        cursor = site.ledger.page(Wanted(by_score=by_score), 1).next_cursor
        for start in ("", cursor):
            statements: list[str] = []
            site.ledger._db.set_trace_callback(statements.append)
            site.ledger.page(wanted, 1, start)
            site.ledger._db.set_trace_callback(None)
            (query,) = statements
            rows = site.ledger.all(f"EXPLAIN QUERY PLAN {query}")
            plan = [row[3] for row in rows]
            assert not any(step.startswith("SCAN") and step != "SCAN listed" for step in plan), plan
            inner = plan[: plan.index("SCAN listed")]
            assert not any("predictions" in step for step in inner), plan
            sorts = any("TEMP B-TREE" in step for step in inner)
            assert sorts == bool(by_score and wanted.text), plan
            if by_score and not wanted.text and not wanted.since:
                assert any("USING COVERING INDEX judged_by_rank" in step for step in inner), plan


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_ledger_shows_all_it_has_and_an_older_program_may_go_on(tmp_path, version):
    path = tmp_path / "ledger.db"
    old = Site.__new__(Site)
    old.ledger, old.n_films = older_ledger(path, version), 0
    old.record("a", sha256="a" * 64)
    old.record("a", folder=Path("/elsewhere"), sha256="a" * 64)
    old.record("b", 0.2, patient="PAT-1")
    old.no_answer("c")
    old.no_answer("d", "failed", "no_permission", sha256="")
    old.no_answer("e", "failed", "no_permission", sha256="")
    old.record("e", findings=findings(pneumonia=0.1, effusion=0.8))
    site = Site.__new__(Site)
    site.ledger, site.n_films = Ledger(path), 100
    check_derived(site.ledger)
    assert site.shown() == "edcba"
    assert site.shown(text="pat-1") == "b"
    assert site.shown(by_score=True, finding="effusion") == "e"
    # It has the ledger open still.
    old.record("f", sha256="f" * 64)
    old.record("f", folder=Path("/elsewhere"), sha256="f" * 64)
    old.record("d")
    check_derived(site.ledger)
    assert site.shown() == "dfecba"
    old.ledger.finish_in_place(old.ledger.folder_id(FOLDER), 99, ["ok", "refused", "failed"])
    old.ledger.forget_results(NOW + timedelta(minutes=4))
    check_derived(site.ledger)
    assert site.ledger.integrity_trouble() == ""
    old.ledger.close()
    site.ledger.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_ledger_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path, monkeypatch, version):
    path = tmp_path / "ledger.db"
    with older_ledger(path, version) as old:
        old.record(old.saw(old.folder_id(FOLDER), "a.jpg", Look(1, 2, 3)), Look(1, 2, 3), result())
        before = old.all("SELECT sql FROM sqlite_schema"), old.all("SELECT * FROM predictions")
    *before_it, last = schema.MIGRATIONS
    broken = last + "\nSELECT no_such_column FROM judged;\n"
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*before_it, broken))
        with pytest.raises(LedgerError, match="no_such_column"):
            Ledger(path)
    with older_ledger(path, version) as old:
        assert old.schema_version() == version
        assert before == (
            old.all("SELECT sql FROM sqlite_schema"),
            old.all("SELECT * FROM predictions"),
        )
    with Ledger(path) as ledger:
        assert shown(ledger.page(Wanted(), 9).films) == "a"


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_ledger_that_may_only_be_read_says_what_it_said_before(tmp_path, version):
    path = tmp_path / "ledger.db"
    with older_ledger(path, version) as old:
        old.record(old.saw(old.folder_id(FOLDER), "a.jpg", Look(1, 2, 3)), Look(1, 2, 3), result())
    before = path.read_bytes()
    with Ledger(path, read_only=True) as ledger:
        (film,) = ledger.predictions(latest=True)
        assert film.result == result()
        assert ledger.film(film.id) == film
        assert ledger.places(film) == [FOLDER / "a.jpg"]
        assert ledger.verdicts(film.id) == ledger.verdict_history(film.id) == []
        assert ledger.n_done(1, NOW, NOW + timedelta(1))["positive"] == 1
        if version == 1:
            with pytest.raises(LedgerError):
                ledger.page(Wanted(), 1)
        else:
            assert ledger.page(Wanted(status="positive"), 9).films == [film]
        with pytest.raises(LedgerError, match="readonly"):
            ledger.set_fact("a", "b")
    assert path.read_bytes() == before


def test_each_statement_of_a_migration_is_whole():
    """A trigger has several within it."""
    for script in schema.MIGRATIONS:
        for statement in database._statements(script):
            assert statement.count("BEGIN") == statement.count("END;")
            assert sqlite3.complete_statement(statement)
    assert sum("CREATE TRIGGER" in one for one in database._statements(schema.MIGRATIONS[1])) == 7
