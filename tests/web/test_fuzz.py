"""The API keeps to its document, whatever it is sent (tests/web/fuzz.py sends more of it)."""

from tests.web.fuzz import fuzz, put_some_films
from tests.web.served import served


def test_no_request_that_the_document_allows_or_forbids_is_a_server_error(tmp_path):
    with served(tmp_path) as address:
        put_some_films(tmp_path, address)
        done = fuzz(address, n_examples=20, seed=1, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Server error" not in done.stdout
