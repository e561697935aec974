"""Problem details: what a program is told, and what nobody is."""

import json
import logging
from pathlib import Path

import anyio
import pytest
from fastapi import FastAPI, Form, Query
from pydantic import BaseModel, ConfigDict, field_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.testclient import TestClient

from cxr_edge.errors import LedgerError, ModelError, RecordError, RefusedError, SettingsError
from cxr_edge.language import Message
from cxr_edge.record import cannot_be_written
from cxr_edge.web.problems import Problem, install, is_for_programs

SECRET = "DOE^JANE"


class Given(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: str
    n: int = 0

    @field_validator("verdict")
    @classmethod
    def known(cls, value: str) -> str:
        if value != "agree":
            raise ValueError(f"{value} is no verdict")
        return value


def app_that_raises(error: Exception, page=None) -> TestClient:
    app = FastAPI()

    @app.get("/v1/films")
    @app.get("/films")
    def raises():
        raise error

    @app.get("/v1/later")
    def later():
        def pieces():
            yield b"a"
            raise error

        return StreamingResponse(pieces())

    @app.post("/v1/verdicts")
    def verdicts(given: Given):
        return {}

    @app.get("/v1/results")
    def results(limit: int = Query(50, le=500)):
        return {}

    @app.post("/search")
    def search(text: str = Form(max_length=5)):
        return {}

    install(app, page)
    return TestClient(app)


def problem(response) -> dict:
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == response.status_code
    return told


def test_a_problem_of_ours_is_told_with_its_code_and_next_step():
    error = Problem(
        503, "queue_full", "Too many films wait", "64 wait.", "Send it again.", {"Retry-After": "7"}
    )
    response = app_that_raises(error).get("/v1/films")
    assert response.headers["retry-after"] == "7"
    assert problem(response) == {
        "type": "/problems/queue-full",
        "title": "Too many films wait",
        "status": 503,
        "detail": "64 wait.",
        "code": "queue_full",
        "next_step": "Send it again.",
    }


def test_where_the_status_says_it_all_the_type_is_blank():
    assert problem(app_that_raises(Problem(410)).get("/v1/films")) == {
        "type": "about:blank",
        "title": "Gone",
        "status": 410,
    }


def test_an_address_without_anything_and_a_wrong_method_are_problems():
    client = app_that_raises(Problem(410))
    assert problem(client.get("/v1/absent"))["status"] == 404
    response = client.delete("/v1/films")
    assert problem(response)["title"] == "Method Not Allowed"
    assert response.headers["allow"] == "GET"


def test_a_route_may_give_a_status_its_own_detail():
    told = problem(app_that_raises(HTTPException(409, "It is read now.")).get("/v1/films"))
    assert (told["title"], told["detail"]) == ("Conflict", "It is read now.")


def test_wrong_values_are_told_by_place_and_never_repeated():
    client = app_that_raises(Problem(410))
    response = client.post("/v1/verdicts", json={"verdict": SECRET, "n": SECRET, SECRET: 1})
    told = problem(response)
    assert (told["status"], told["code"]) == (422, "invalid")
    assert SECRET not in response.text
    assert [(one["where"], one["what"]) for one in told["errors"]] == [
        ("body.verdict", "This is not valid."),
        ("body.n", "Input should be a valid integer, unable to parse string as an integer"),
        ("body.*", "Extra inputs are not permitted"),
    ]
    response = client.get("/v1/results", params={"limit": 9000})
    (error,) = problem(response)["errors"]
    assert error["where"] == "query.limit"
    assert "9000" not in response.text


def test_a_body_that_is_no_json_is_a_problem():
    response = app_that_raises(Problem(410)).post(
        "/v1/verdicts", content=f'{{"{SECRET}', headers={"content-type": "application/json"}
    )
    assert problem(response)["status"] == 422
    assert SECRET not in response.text


def test_a_refused_film_is_told_by_its_code():
    error = RefusedError("too_small", f"{SECRET} has 3 pixels.", "Export it again.")
    told = problem(app_that_raises(error).get("/v1/films"))
    assert (told["status"], told["code"], told["type"]) == (
        422,
        "too_small",
        "/problems/too-small",
    )
    assert told["detail"].startswith("The image is too small.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LedgerError(f"/data/{SECRET}.db is locked.", f"Close /data/{SECRET}.db."), "ledger"),
        (RecordError(f"/data/{SECRET}.csv", f"See {SECRET}"), "not_recorded"),
        (ModelError(Message("{path} drifts", path=SECRET), Message("See {x}", x=SECRET)), "model"),
        (SettingsError(SECRET, SECRET), "settings_error"),
    ],
)
def test_an_error_of_ours_is_told_without_paths_and_names(error, code, caplog):
    with caplog.at_level(logging.ERROR):
        response = app_that_raises(error).get("/v1/films")
    told = problem(response)
    assert told["status"] == 503
    assert told["code"].startswith(code)
    assert told["next_step"] == "What cxr-edge logs says more."
    assert SECRET not in response.text + caplog.text


def test_a_next_step_without_facts_is_told():
    error = cannot_be_written(Path(f"/data/{SECRET}"), PermissionError(13, "Permission denied"))
    response = app_that_raises(error).get("/v1/films")
    assert problem(response)["next_step"] == (
        "Close it in other programs, and check permission and free space."
    )
    assert SECRET not in response.text
    assert response.headers["retry-after"] == "5"


def test_a_fault_is_logged_with_its_stack_but_not_with_what_was_sent(caplog):
    try:
        raise FileNotFoundError(2, "No such file", SECRET)
    except OSError as exc:
        error = KeyError(SECRET)
        error.__cause__ = exc
    with caplog.at_level(logging.ERROR):
        response = app_that_raises(error).get("/v1/films", params={"text": SECRET})
    told = problem(response)
    assert (told["status"], told["code"]) == (500, "internal_error")
    assert "fault of this program" in told["detail"]
    assert "KeyError" in caplog.text
    assert "FileNotFoundError" in caplog.text
    assert 'test_problems.py", line' in caplog.text
    assert SECRET not in response.text + caplog.text
    assert "Traceback" not in response.text


def test_a_fault_after_the_first_byte_is_logged_and_the_response_stays_unfinished(caplog):
    with caplog.at_level(logging.ERROR):
        response = app_that_raises(ValueError(SECRET)).get("/v1/later")
    assert response.content == b"a"
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_nobody_is_answered_who_has_gone_away(caplog):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/films",
        "query_string": b"",
        "headers": [],
    }
    anyio.run(app_that_raises(ClientDisconnect()).app, scope, receive, send)
    assert sent == []
    assert caplog.text == ""


def test_people_get_a_page_with_the_status_and_headers_of_the_problem():
    def page(request: Request, problem: Problem) -> HTMLResponse:
        return HTMLResponse(f"<h1>{problem.title}</h1>{problem.next_step}")

    error = Problem(503, "queue_full", "Full", "", "Wait.", {"Retry-After": "7"})
    response = app_that_raises(error, page).get("/films")
    assert response.headers["content-type"].startswith("text/html")
    assert (response.status_code, response.text) == (503, "<h1>Full</h1>Wait.")
    assert response.headers["retry-after"] == "7"
    assert app_that_raises(KeyError("x"), page).get("/films").status_code == 500
    assert (
        app_that_raises(error, page).get("/nothing").headers["content-type"].startswith("text/html")
    )
    assert app_that_raises(error, page).post("/search", data={"text": "x" * 9}).status_code == 422


def test_without_a_page_or_with_one_that_fails_people_get_text(caplog):
    def broken(request: Request, problem: Problem) -> HTMLResponse:
        raise KeyError(SECRET)

    error = Problem(503, "queue_full", "Full", "64 wait.", "Wait.")
    for page in (None, broken):
        response = app_that_raises(error, page).get("/films")
        assert response.status_code == 503
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text == "Full\n64 wait.\nWait."
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


def test_a_form_that_cannot_be_parsed_is_no_fault_of_the_program(caplog):
    app = FastAPI()

    @app.post("/v1/forms")
    async def forms(request: Request):
        async with request.form():
            return {}

    install(app)
    response = TestClient(app).post(
        "/v1/forms",
        content=f"{SECRET} without a boundary".encode(),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert problem(response)["status"] == 400
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "path", ["/v1/films/3", "/healthz", "/metrics", "/openapi.json", "/live", "/films/3/pixels"]
)
def test_what_programs_and_scripts_ask_for_is_no_page(path):
    assert is_for_programs(path)


@pytest.mark.parametrize("path", ["/", "/films/3", "/v1x", "/live-view", "/films.csv", "/login"])
def test_everything_else_is_a_page(path):
    assert not is_for_programs(path)


def test_a_problem_is_plain_json_whatever_its_texts_are():
    told = Problem(413, "too_large", Message("At most {n} MB.", n=3)).to_json()
    assert json.loads(json.dumps(told))["title"] == "At most 3 MB."
