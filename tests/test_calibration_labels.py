"""What a site's labels may look like, and what is said of those that are wrong."""

from pathlib import Path

import pytest

from cxr_edge.calibration.labels import Judge, Label, present_by, read_labels
from cxr_edge.errors import SettingsError

DIGEST, TWIN, OTHER = "a" * 64, "b" * 64, "c" * 64
JUDGE = Judge("tiny 1", ("pneumonia",), frozenset({DIGEST, TWIN}))
TWO = Judge("tiny 1", ("pneumonia", "effusion"), frozenset({DIGEST}))


@pytest.fixture
def films(tmp_path) -> Path:
    for name in ("a.png", "b.png", "c.png", "Müller.png"):
        (tmp_path / name).write_bytes(b"a film")
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def read(folder: Path, text: str, judge: Judge = JUDGE, encoding: str = "utf-8"):
    return read_labels(write(folder, text, encoding), judge)


def refused(folder: Path, text: str, judge: Judge = JUDGE) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, judge)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return caught.value.message


def test_a_label_is_a_film_a_finding_and_whether_it_is_there(films):
    found = read(films, "file,finding,label\na.png,pneumonia,present\nb.png,pneumonia,absent\n")
    assert found.source == "labels.csv"
    assert found.labels == (
        Label(films / "a.png", "pneumonia", True),
        Label(films / "b.png", "pneumonia", False),
    )


@pytest.mark.parametrize(
    "text",
    [
        "a.png,pneumonia,present\nb.png,pneumonia,absent\n",
        "file,finding,is it there\na.png,pneumonia,present\nb.png,pneumonia,absent\n",
    ],
)
def test_three_columns_in_that_order_need_no_names(films, text):
    labels = read(films, text).labels
    assert [(one.film.name, one.present) for one in labels] == [("a.png", True), ("b.png", False)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_saves_it_as_it_pleases(films, delimiter, encoding):
    text = 'Label,FILE, finding ,"Seen by"\r\n PRESENT ,Müller.png,Pneumonia,x\r\n,,,\r\n'
    found = read(films, text.replace(",", delimiter), encoding=encoding)
    assert found.labels == (Label(films / "Müller.png", "pneumonia", True),)


def test_the_finding_goes_without_saying_where_the_model_has_one(films):
    assert read(films, "file,label\na.png,absent").labels == (
        Label(films / "a.png", "pneumonia", False),
    )
    assert refused(films, "file,label\na.png,absent", TWO).endswith("lacks the columns finding.")


def test_who_is_of_the_same_patient_may_be_said(films):
    (label,) = read(films, "patient,file,label\nP 7,a.png,absent").labels
    assert label.patient == "P 7"


def test_every_fault_is_found_at_once_and_its_line_named(films):
    text = (
        "file,finding,label\n"
        "a.png,pneumonia,present\n"
        "gone.png,pneumonia,present\n"
        "b.png,oedema,present\n"
        "c.png,pneumonia,maybe\n"
        ",pneumonia,present\n"
        "./a.png,pneumonia,present\n"
    )
    said = refused(films, text)
    assert "has 5 faulty lines" in said
    assert f"Line 3: there is no file {films / 'gone.png'}." in said
    assert "Line 4: tiny 1 knows no finding 'oedema', only pneumonia." in said
    assert "Line 5: the label is 'maybe', not present or absent." in said
    assert "Line 6: it names no file." in said
    assert "Line 7: it repeats line 2: the same film and finding." in said


def test_of_many_faults_the_first_are_shown(films):
    said = refused(films, "file,label\n" + "gone.png,present\n" * 30)
    assert said.count("Line ") == 5
    assert "30 faulty lines" in said and said.endswith("And 25 more such lines.")


def test_a_film_may_have_a_label_for_each_finding(films):
    text = "file,finding,label\na.png,pneumonia,present\na.png,effusion,absent\n"
    assert [one.present for one in read(films, text, TWO).labels] == [True, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks the columns file, finding, label"),
        ("a.png,pneumonia,yes\n", "lacks the columns file, finding, label"),
        ("file,finding,label\n", "holds no labels"),
        ("file,label,Label\na.png,present,absent\n", "has the column label twice"),
        ('file,label\n"a.png,present\n' + 200_000 * "x", "is no CSV"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(films, text, said):
    assert said in refused(films, text)


def test_a_film_in_place_of_the_list_is_refused(films):
    (films / "film.jpg").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(SettingsError):
        read_labels(films / "film.jpg", JUDGE)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_labels(films / "gone.csv", JUDGE)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_labels(films, JUDGE)


@pytest.mark.parametrize(
    ("answer", "verdict", "present"),
    [
        ("positive", "agree", True),
        ("negative", "disagree", True),
        ("negative", "agree", False),
        ("positive", "disagree", False),
        ("positive", "unsure", None),
        ("unsure", "agree", None),
        ("unsure", "disagree", None),
        ("", "agree", None),
    ],
)
def test_a_verdict_is_a_label_where_it_tells_what_is_there(answer, verdict, present):
    assert present_by(answer, verdict) is present


VERDICTS = "file,finding,positive,answer,model,model_sha256,sha256,verdict,patient\n"


def test_verdicts_as_export_csv_writes_them_are_labels(films):
    text = (
        VERDICTS + f"a.png,pneumonia,true,positive,tiny 1,{DIGEST},{'1' * 64},agree,P1\n"
        f"b.png,pneumonia,true,unsure,tiny 1,{DIGEST},{'2' * 64},agree,\n"
        f"c.png,pneumonia,false,negative,tiny 1,{TWIN},{'3' * 64},disagree,\n"
        f"gone.png,pneumonia,false,negative,old 1,{OTHER},{'4' * 64},,\n"
    )
    found = read(films, text)
    assert found.labels == (
        Label(films / "a.png", "pneumonia", True, "P1", "1" * 64),
        Label(films / "c.png", "pneumonia", True, "", "3" * 64),
    )
    assert found.n_open == 1


def test_of_findings_but_the_leading_one_a_row_of_verdicts_tells_nothing(films):
    text = (
        VERDICTS + f"a.png,pneumonia,true,positive,tiny 1,{DIGEST},,"
        "film=agree; effusion=agree; pneumonia=disagree,\n"
    )
    found = read(films, text, TWO)
    assert found.labels == (Label(films / "a.png", "pneumonia", False),)
    assert found.n_open == 2


def test_verdicts_on_another_model_are_no_labels_for_this_one(films):
    text = VERDICTS + f"a.png,pneumonia,true,positive,old 1,{OTHER},,agree,\n"
    said = refused(films, text)
    assert "holds labels for another model" in said
    assert "1 verdicts, the first in line 2, are on old 1, not on tiny 1" in said
