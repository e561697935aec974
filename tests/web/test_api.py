"""Programs ask the server, and films that anybody sends harm nothing."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr_edge import load_model
from cxr_edge.ledger import Ledger
from cxr_edge.model_card import UnsureBand
from cxr_edge.reading import predict_result
from cxr_edge.record import to_json
from cxr_edge.terms import Terms
from tests.conftest import BROKEN, make_film
from tests.made import dicom
from tests.tiny_model import gated_card, gated_film, write_gated_model
from tests.web.running import running


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_model_path):
    model = load_model(tiny_model_path, "cpu", threads=1, heatmaps=True)
    with running(tmp_path_factory.mktemp("served"), model) as server:
        yield server


@pytest.fixture
def film(tmp_path) -> Path:
    return make_film(tmp_path / "film.jpg", brightness=int.from_bytes(tmp_path.name.encode()) % 251)


def sent(server, *paths: Path):
    return server.client.post(
        "/v1/predict", files=[("films", (path.name, path.read_bytes())) for path in paths]
    )


def test_a_film_that_is_sent_has_the_answer_that_predict_gives(server, film):
    answer = sent(server, film)
    assert answer.status_code == 200
    (told,) = answer.json()["films"]
    expected = to_json(predict_result(film, server.serving.model))
    same = ("status", "reason", "finding", "score", "positive", "model", "model_sha256", "sha256")
    assert {name: told[name] for name in same} == {name: expected[name] for name in same}
    assert told["probability"] == pytest.approx(expected["probability"], abs=1e-6)
    assert told["file"] == "film.jpg"
    assert "Not for diagnostic use" in answer.json()["note"]


def test_an_answer_within_the_band_is_unsure_for_programs_too(tmp_path):
    band = UnsureBand("pneumonia", 0.0, 1.0, 0.95, 40, 40, "made films")
    card = replace(gated_card(), unsure=(band,))
    model = load_model(write_gated_model(tmp_path / "m.onnx", card), "cpu", threads=1)
    with running(tmp_path / "served", model) as server:
        (told,) = sent(server, gated(tmp_path, "readable")).json()["films"]
        assert (told["status"], told["answer"], told["accepted"]) == ("ok", "unsure", [])
        assert told["distance"] == pytest.approx(0, abs=0.3)
        assert told["site_profile"] == ""
        (finding,) = told["all_findings"]
        assert (finding["unsure_from"], finding["unsure_below"]) == (0.0, 1.0)
        assert finding["answer"] == "unsure"
        assert finding["positive"] == (finding["probability"] >= finding["threshold"])
        for path in (f"/v1/films/{told['id']}", "/v1/results?status=unsure"):
            again = server.client.get(path).json()
            again = again["films"][0] if "films" in again else again
            assert {name: again[name] for name in told} == told
        assert server.client.get("/v1/results?status=negative").json()["films"] == []
        said = server.client.get("/metrics").text
        assert 'cxr_edge_unsure_total{finding="pneumonia"} 1.0' in said
        assert "cxr_edge_positive_total{" not in said


def test_what_the_site_overrules_is_read_and_says_so(tmp_path):
    model = load_model(write_gated_model(tmp_path / "m.onnx"), "cpu", threads=1)
    side = tmp_path / "side.dcm"
    pixels = gated_film("readable").astype(np.uint16) * 16
    side.write_bytes(dicom(pixels, 12, ViewPosition="LL", PatientAge="004Y"))
    films = [gated(tmp_path, "lateral"), side, gated(tmp_path, "inverted")]
    with running(
        tmp_path / "served", model, terms=Terms(accepted=frozenset({"lateral"}))
    ) as server:
        seen, told_by_header, other = sent(server, *films).json()["films"]
        assert seen["status"] == told_by_header["status"] == "ok"
        assert seen["accepted"] == told_by_header["accepted"] == ["lateral"]
        assert seen["reason"] == "accepted: lateral"
        assert seen["answer"] in ("positive", "negative")
        assert (other["status"], other["answer"], other["accepted"]) == ("refused", None, [])
        assert other["reason"].startswith("inverted: ")
        page = server.client.get(seen["page"]).text
        assert "read although it would be refused: lateral" in page
        said = server.client.get("/metrics").text
        assert 'cxr_edge_films_total{code="accepted",status="ok"} 2.0' in said


def gated(folder: Path, condition: str) -> Path:
    path = folder / f"{condition}.png"
    path.write_bytes(cv2.imencode(".png", gated_film(condition))[1].tobytes())
    return path


def test_several_films_have_their_answers_in_their_order(server, tmp_path):
    films = [make_film(tmp_path / f"{n}.png", brightness=60 + 40 * n) for n in range(4)]
    told = sent(server, *films).json()["films"]
    assert [one["file"] for one in told] == [path.name for path in films]
    assert len({one["id"] for one in told}) == 4


def test_a_film_may_be_the_body_itself(server, film):
    answer = server.client.post(
        "/v1/predict",
        content=film.read_bytes(),
        headers={
            "Content-Type": "image/jpeg",
            "Content-Disposition": 'attachment; filename="C:\\\\films\\\\anna.jpg"',
        },
    )
    assert answer.json()["films"][0]["file"] == "anna.jpg"


def test_a_film_that_cannot_be_read_is_an_answer_too(server, tmp_path):
    coloured = np.zeros((64, 64, 3), np.uint8)
    coloured[:, :, 0] = 255
    path = tmp_path / "coloured.png"
    path.write_bytes(cv2.imencode(".png", coloured)[1].tobytes())
    text = tmp_path / "text.jpg"
    text.write_text("no film at all")
    told = sent(server, path, text).json()["films"]
    assert [(one["status"], one["reason"].partition(":")[0]) for one in told] == [
        ("refused", "colour"),
        ("failed", "unsupported_format"),
    ]


@pytest.mark.parametrize("path", sorted(BROKEN.iterdir()), ids=lambda path: path.name)
def test_no_broken_film_breaks_the_server(server, path):
    answer = sent(server, path)
    assert answer.status_code == 200
    assert answer.json()["films"][0]["status"] in ("ok", "refused", "failed")


def test_a_decoder_that_was_killed_is_replaced(server, film):
    sent(server, film)
    for decoder in server.serving.queue._decoders._all:
        if decoder.pid is not None:
            os.kill(decoder.pid, signal.SIGKILL)
    statuses = [sent(server, film).json()["films"][0]["status"] for _ in range(2)]
    # One that dies while it is asked may take the first answer with it.
    assert statuses[-1] == "ok"


def test_the_ledger_has_what_was_answered(server, film):
    (told,) = sent(server, film).json()["films"]
    details = server.client.get(f"/v1/films/{told['id']}").json()
    assert {name: details[name] for name in told} == told
    newest = server.client.get("/v1/results", params={"limit": 1}).json()
    assert newest["films"] == [told]
    assert newest["next"]
    with Ledger(server.serving.ledger_path, read_only=True) as ledger:
        assert ledger.film(told["id"]).result.sha256 == told["sha256"]


def test_results_come_a_page_at_a_time(server, tmp_path):
    sent(server, *(make_film(tmp_path / f"{n}.png", brightness=90 + n) for n in range(5)))
    seen, cursor = [], ""
    while cursor is not None:
        page = server.client.get(
            "/v1/results", params={"limit": 2, "order": "score", "cursor": cursor}
        ).json()
        seen += [one["id"] for one in page["films"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) >= 5
    assert (
        server.client.get("/v1/results", params={"cursor": "made up"}).json()["code"]
        == "bad_cursor"
    )


def test_a_heatmap_is_a_layer_of_the_films_shape(server, tmp_path):
    (told,) = sent(server, make_film(tmp_path / "film.png", 250, side=96)).json()["films"]
    (address,) = server.client.get(f"/v1/films/{told['id']}").json()["heatmaps"].values()
    answer = server.client.get(address)
    assert answer.headers["content-type"] == "image/png"
    layer = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert layer.shape[0] == layer.shape[1]
    assert layer.shape[2] == 4
    assert layer[:, :, 3].max() > 0
    assert server.client.get(f"/v1/heatmaps/{told['id']}").content == answer.content


def test_no_heatmap_of_what_was_not_judged(server, film):
    (told,) = sent(server, film).json()["films"]
    answer = server.client.get(f"/v1/heatmaps/{told['id']}", params={"finding": "gout"})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_heatmap")


def test_a_film_that_is_gone_has_its_result_and_no_heatmap(server, film):
    (told,) = sent(server, film).json()["films"]
    (server.serving.uploads.folder / told["sha256"][:2] / told["sha256"]).unlink()
    assert server.client.get(f"/v1/films/{told['id']}").status_code == 200
    answer = server.client.get(f"/v1/heatmaps/{told['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "film_not_there")


def test_another_film_in_its_place_is_not_shown(server, tmp_path):
    one, other = make_film(tmp_path / "1.png", 77), make_film(tmp_path / "2.png", 177)
    (told,) = sent(server, one).json()["films"]
    place = server.serving.uploads.folder / told["sha256"][:2] / told["sha256"]
    place.write_bytes(other.read_bytes())
    assert server.client.get(f"/films/{told['id']}/thumbnail").status_code == 404
    assert server.client.get(f"/v1/heatmaps/{told['id']}").status_code == 404


def test_a_verdict_is_kept_with_the_film(server, film):
    (told,) = sent(server, film).json()["films"]
    address = f"/v1/films/{told['id']}/verdicts"
    for word in ("agree", "disagree"):
        said = server.client.post(address, json={"finding": "pneumonia", "verdict": word})
    assert [one["verdict"] for one in said.json()] == ["disagree"]
    details = server.client.get(f"/v1/films/{told['id']}").json()
    assert details["verdicts"] == said.json()


@pytest.mark.parametrize(
    "given",
    [
        {"finding": "gout", "verdict": "agree"},
        {"finding": "pneumonia", "verdict": "perhaps"},
        {"verdict": "agree", "note": "x" * 2001},
        {"verdict": "agree", "note": "a\x00b"},
        {"verdict": "agree", "more": 1},
        {},
    ],
)
def test_a_verdict_that_makes_no_sense_is_not_kept(server, film, given):
    (told,) = sent(server, film).json()["films"]
    answer = server.client.post(f"/v1/films/{told['id']}/verdicts", json=given)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert server.client.get(f"/v1/films/{told['id']}").json()["verdicts"] == []


@pytest.mark.parametrize(
    "address", ["/v1/films/999999", "/v1/heatmaps/999999", "/v1/films/0", "/v1/films/x", "/v1/no"]
)
def test_what_is_not_there_is_a_problem(server, address):
    answer = server.client.get(address)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 400),
        ({"Content-Type": "multipart/form-data"}, b"film", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\nno form", 400),
    ],
)
def test_what_is_no_film_is_a_problem(server, headers, content, status):
    answer = server.client.post("/v1/predict", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_full_queue_says_when_to_come_again(tmp_path, server, tiny_model_path, film):
    with server.serving.queue.places(server.serving.queue.n_places):
        answer = sent(server, film)
    assert answer.status_code == 503
    assert answer.json()["code"] == "queue_full"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert sent(server, film).status_code == 200


def test_more_films_than_there_are_places_are_turned_away_together(server, tmp_path):
    films = [make_film(tmp_path / f"{n}.png", brightness=30 + n) for n in range(9)]
    assert sent(server, *films).status_code == 503
    assert server.serving.queue.n_waiting == 0


def test_nothing_is_left_of_what_was_turned_away(server, tmp_path):
    films = [make_film(tmp_path / f"{n}.png", brightness=10 + n) for n in range(9)]
    sent(server, *films)
    assert list((server.serving.uploads.folder / "incoming").iterdir()) == []


def test_the_model_is_told_with_its_card(server):
    told = server.client.get("/v1/model").json()
    model = server.serving.model
    assert (told["model_sha256"], told["provider"]) == (model.sha256, model.provider)
    assert told["card"]["intended_use"] == model.card.intended_use


def test_health_says_what_troubles_the_watcher(server):
    assert server.client.get("/healthz").json()["status"] == "ok"
    server.trouble = "the share is away"
    answer = server.client.get("/healthz")
    server.trouble = ""
    assert (answer.status_code, answer.json()["status"]) == (503, "the share is away")


def test_prometheus_has_counts_and_no_names(server, film):
    sent(server, film)
    said = server.client.get("/metrics").text
    assert 'cxr_edge_films_total{code="",status="ok"}' in said
    assert "cxr_edge_queue_places 8.0" in said
    assert "film.jpg" not in said


def test_every_view_and_verdict_leaves_a_line_and_no_name(server, film):
    (told,) = sent(server, film).json()["films"]
    number = told["id"]
    server.client.get(f"/v1/films/{number}")
    server.client.get(f"/v1/heatmaps/{number}")
    server.client.post(f"/v1/films/{number}/verdicts", json={"verdict": "agree", "note": "Anna"})
    lines = [json.loads(line) for line in server.audit_lines]
    told_of = [line["action"] for line in lines if line.get("film") == number]
    assert told_of == ["upload", "view_film", "view_heatmap", "verdict"]
    assert "film.jpg" not in "".join(server.audit_lines)
    assert "Anna" not in "".join(server.audit_lines)


def test_nothing_is_shown_that_cannot_be_audited(server, film):
    (told,) = sent(server, film).json()["films"]
    path = server.folder / "audit.log"
    path.rename(server.folder / "audit.old")
    path.mkdir()
    try:
        answer = server.client.get(f"/v1/films/{told['id']}")
    finally:
        path.rmdir()
        (server.folder / "audit.old").rename(path)
    assert answer.status_code == 503
    assert "film.jpg" not in answer.text


def test_a_body_that_is_no_text_is_a_problem_that_the_document_names(server, film):
    (told,) = sent(server, film).json()["films"]
    answer = server.client.post(
        f"/v1/films/{told['id']}/verdicts",
        content=b"\x04\xff",
        headers={"Content-Type": "application/json"},
    )
    document = server.client.get("/openapi.json").json()
    documented = document["paths"]["/v1/films/{number}/verdicts"]["post"]["responses"]
    assert str(answer.status_code) in documented
    assert answer.status_code < 500


def test_no_verdict_is_kept_that_cannot_be_audited(server, film):
    (told,) = sent(server, film).json()["films"]
    address = f"/v1/films/{told['id']}"
    path = server.folder / "audit.log"
    path.rename(server.folder / "audit.old")
    path.mkdir()
    try:
        answer = server.client.post(f"{address}/verdicts", json={"verdict": "agree"})
    finally:
        path.rmdir()
        (server.folder / "audit.old").rename(path)
    assert answer.status_code == 503
    assert server.client.get(address).json()["verdicts"] == []


def test_earlier_films_of_the_same_patient_are_known(server, tmp_path):
    numbers = []
    ramp = np.tile(np.arange(96, dtype=np.uint16) * 40, (96, 1))
    for n, patient in enumerate(("P1", "P1", "P2")):
        path = tmp_path / f"{n}.dcm"
        path.write_bytes(dicom(np.roll(ramp, n + 1), PatientID=patient))
        numbers.append(sent(server, path).json()["films"][0]["id"])
    earlier = [
        server.client.get(f"/v1/films/{number}").json()["earlier_films"] for number in numbers
    ]
    assert earlier == [[], [numbers[0]], []]


def test_the_document_names_every_route_and_its_problems(server):
    document = server.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/v1/predict", "/v1/results", "/v1/films/{number}", "/v1/films/{number}/verdicts"),
        *("/v1/heatmaps/{number}", "/v1/model", "/healthz", "/metrics"),
    }
    predict = document["paths"]["/v1/predict"]["post"]
    assert "application/problem+json" in predict["responses"]["503"]["content"]
    assert document["components"]["schemas"]["Film"]["examples"]


def test_a_browser_keeps_scripts_and_asks_whether_they_are_the_same(server):
    first = server.client.get("/static/viewer.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = server.client.get("/static/viewer.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert server.client.get("/v1/results").headers["Cache-Control"] == "no-store"


def test_no_page_of_another_site_can_send_a_film(server, film):
    answer = server.client.post(
        "/v1/predict",
        files={"films": ("film.jpg", film.read_bytes())},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


def test_a_name_that_was_rebound_to_this_pc_is_not_served(server):
    assert server.client.get("/v1/results", headers={"Host": "evil.example"}).status_code == 421
