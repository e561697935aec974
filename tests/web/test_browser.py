"""What a person does with the page, in a real browser (Debian's Chromium).

CXR_EDGE_SCREENSHOTS=tests/web/pictures has it leave the README's pictures there; with
CXR_EDGE_CHROMIUM_REQUIRED=1 a missing browser is a failure and no reason to skip.
"""

import json
import os
import re
import shutil
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cxr_edge import load_model
from cxr_edge.cli import cli
from cxr_edge.model_card import UnsureBand
from tests.conftest import SAMPLES
from tests.made import dicom, film
from tests.tiny_model import gated_card, gated_film, write_gated_model
from tests.web.history import write_history
from tests.web.served import served

SCREENSHOTS = os.environ.get("CXR_EDGE_SCREENSHOTS", "")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
SIZE = {"width": 1280, "height": 860}
PAGES = ("/", "/films/{film}", "/films/{film}/report", "/model", "/site")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CXR_EDGE_CHROMIUM_REQUIRED"):
            pytest.fail("Chromium is to be installed (apt-get install chromium), and is not.")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A server with some months behind it, and its ledger."""
    folder = tmp_path_factory.mktemp("site")
    model = load_model()
    write_history(folder / "ledger.db", folder / "films", (model.card.label, model.sha256))
    with served(folder, "--identifiers", "plain") as address:
        yield address, folder


@pytest.fixture
def page(browser, site) -> Iterator[Page]:
    """A new window, whose page must be without an error."""
    yield from opened(browser, site[0])


def opened(browser: Browser, address: str, **options) -> Iterator[Page]:
    context = browser.new_context(base_url=address, viewport=SIZE, locale="en", **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        # A film that is gone is said in its place; the browser also logs the 404.
        lambda said: (
            errors.append(said.text)
            if said.type == "error" and "Failed to load resource" not in said.text
            else None
        ),
    )
    yield page
    context.close()
    assert errors == []


def photographed(page: Page, name: str) -> None:
    if not SCREENSHOTS:
        return
    Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
    # Whole pictures are on the screen, and what is written large can be read in a README.
    if page.viewport_size == SIZE:
        page.set_viewport_size(SIZE | {"height": 1010})
    page.wait_for_timeout(1000)
    page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def api(site: tuple[str, Path], path: str) -> dict:
    with urllib.request.urlopen(site[0] + path, timeout=30) as answer:
        return json.load(answer)


def newest(site) -> dict:
    return api(site, "/v1/results?limit=1")["films"][0]


def drawn(page: Page) -> np.ndarray:
    """What stands on the viewer's canvas, (H, W, 3)."""
    address = page.locator("[data-viewer] canvas").first.evaluate("one => one.toDataURL()")
    png = np.frombuffer(b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR).astype(int)


def colour(page: Page) -> int:
    """How many of the viewer's pixels are in colour: of a heatmap."""
    shown = drawn(page)
    return int((shown.max(axis=2) - shown.min(axis=2) > 30).sum())


def show(page: Page, path: Path) -> None:
    """Upload a film and open its result."""
    page.goto("/")
    page.set_input_files("#choose", path)
    page.get_by_role("link", name="Open the result").click()
    page.wait_for_url(re.compile(r"/films/\d+$"))


def wait_for_heatmap(page: Page) -> None:
    page.locator("[data-heat-shown]").first.wait_for()
    wait_for_a_frame(page)


def wait_for_a_frame(page: Page) -> None:
    """The viewer draws what was changed with the next one."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def wait_until_drawn(page: Page) -> None:
    page.wait_for_function(
        """() => {
            const canvas = document.querySelector('[data-viewer] canvas');
            const context = canvas.getContext('2d');
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
            return data.some((value, place) => place % 4 === 0 && value > 60);
        }"""
    )


def test_from_the_start_to_a_heatmap_are_three_clicks(page):
    page.goto("/")
    with page.expect_file_chooser() as chosen:
        page.get_by_text("Choose radiographs").click()  # one; two: the file, in the dialog
    chosen.value.set_files(SAMPLES / "pneumonia-1.jpg")
    page.get_by_role("link", name="Open the result").click()  # three
    expect(page.get_by_role("heading", name="pneumonia-1.jpg")).to_be_visible()
    wait_for_heatmap(page)
    expect(page.locator("main")).to_contain_text("Not for diagnostic use")
    assert colour(page) > 1000
    photographed(page, "film")


def test_several_films_are_dropped_at_once_each_with_its_answer(page, tmp_path):
    page.goto("/")
    (tmp_path / "no film.txt").write_text("hello")
    names = ("normal-1.jpg", "pneumonia-2.png", "normal-3.dcm")
    page.set_input_files("#choose", [*(SAMPLES / name for name in names), tmp_path / "no film.txt"])
    sent = page.locator("#sent li")
    expect(sent).to_have_count(4)
    expect(page.locator("#sent li.ended")).to_have_count(4)
    expect(sent.nth(0)).to_contain_text("negative: pneumonia, score")
    expect(sent.nth(1)).to_contain_text("positive: pneumonia, score")
    expect(sent.nth(3)).to_contain_text("This kind of file is not read here")
    # The list below shows them without being asked.
    expect(page.locator("#films").get_by_text("pneumonia-2.png")).to_be_visible()


def test_dropping_is_as_good_as_choosing(page):
    page.goto("/")
    dropped = page.evaluate_handle(
        """(data) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            transfer.items.add(new File([bytes], 'dropped.jpg', { type: 'image/jpeg' }));
            return transfer;
        }""",
        b64encode((SAMPLES / "normal-4.jpg").read_bytes()).decode(),
    )
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})
    expect(page.locator("#sent li.ended")).to_contain_text("dropped.jpg")


def test_the_worst_first_and_only_what_is_asked_for(page):
    page.goto("/")
    rows = page.locator("table.films tbody tr")
    expect(rows).not_to_have_count(0)
    photographed(page, "films")
    page.locator("select[name=order]").select_option("score")
    page.wait_for_function("() => Number(document.querySelector('td.score b').textContent) > 95")
    scores = [int(text) for text in page.locator("td.score b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.locator("select[name=status]").select_option("refused")
    expect(rows.first).to_contain_text("lateral")
    page.locator("select[name=status]").select_option("")
    page.get_by_label("Name or patient contains").fill("film-0007")
    expect(rows).to_have_count(1)
    # A name may be a patient's: it is in no address.
    assert "film-0007" not in page.url
    page.reload()


def test_pages_lead_on_and_back(page):
    page.goto("/")
    first = page.locator("td.name a").first.get_attribute("href")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#films")).to_have_attribute("data-page", "2")
    assert page.locator("td.name a").first.get_attribute("href") != first
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#films")).to_have_attribute("data-page", "1")
    assert page.locator("td.name a").first.get_attribute("href") == first


def test_a_film_that_comes_appears_by_itself(page, site):
    page.goto("/")
    expect(page.locator("#live")).to_have_class(re.compile("on"))
    boundary = "b"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="films"; '
        'filename="by itself.png"\r\n\r\n'.encode()
        + (SAMPLES / "normal-5.png").read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    request = urllib.request.Request(
        f"{site[0]}/v1/predict",
        body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    urllib.request.urlopen(request, timeout=30).close()
    expect(page.locator("td.name").get_by_text("by itself.png")).to_be_visible()


def test_the_list_is_downloaded_as_excel_likes_it(page):
    page.goto("/?status=refused")
    page.get_by_text("Download as CSV").click()
    page.locator("select[name=dialect]").select_option("excel-semicolon")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    text = Path(download.value.path()).read_bytes()
    assert text.startswith(b"\xef\xbb\xbffile;status;reason;")
    rows = text.decode("utf-8-sig").splitlines()[1:]
    assert rows
    assert all(";refused;" in row for row in rows)


def test_the_heatmap_can_be_faded_and_put_away(page):
    show(page, SAMPLES / "pneumonia-4.jpg")
    wait_for_heatmap(page)
    full = colour(page)
    assert full > 1000
    slider = page.get_by_label("Opacity")
    slider.fill("10")
    wait_for_a_frame(page)
    assert colour(page) < full / 2
    slider.fill("60")
    page.locator("[data-viewer] canvas").focus()
    page.keyboard.press("h")
    wait_for_a_frame(page)
    assert colour(page) == 0


def test_a_window_brings_out_what_the_films_own_window_hides(page, tmp_path):
    # Two greys that the window shows as one white.
    pixels = film(400, 320).astype(np.uint16) * 8
    pixels[:, :160] += 2000
    path = tmp_path / "clipped.dcm"
    path.write_bytes(dicom(pixels, 12, WindowCenter=300, WindowWidth=400, PatientID="P-17"))
    # It is no chest film, so that there is no heatmap over it.
    show(page, path)
    wait_until_drawn(page)
    before = drawn(page)
    page.get_by_label("Centre").fill("2000")
    page.get_by_label("Width").fill("4000")
    wait_for_a_frame(page)
    after = drawn(page)
    bright = before.min(axis=2) > 250
    assert bright.sum() > 10_000
    assert np.ptp(after[bright]) > 60


def test_zooming_and_moving_by_keys(page):
    show(page, SAMPLES / "normal-1.jpg")
    wait_until_drawn(page)
    page.locator("[data-heat=on]").uncheck()
    canvas = page.locator("[data-viewer] canvas")
    canvas.focus()
    wait_for_a_frame(page)
    whole = drawn(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    wait_for_a_frame(page)
    larger = drawn(page)
    page.keyboard.press("ArrowLeft")
    wait_for_a_frame(page)
    moved = drawn(page)
    page.keyboard.press("0")
    wait_for_a_frame(page)
    assert not np.array_equal(whole, larger)
    assert not np.array_equal(larger, moved)
    assert np.array_equal(whole, drawn(page))


def test_a_refused_film_says_why_in_plain_words(page, tmp_path):
    path = tmp_path / "lateral.dcm"
    path.write_bytes(dicom(film(300, 300).astype(np.uint16), ViewPosition="LL"))
    show(page, path)
    expect(page.locator("section.result")).to_contain_text("This is a lateral view")
    wait_until_drawn(page)


@pytest.fixture(scope="module")
def gated(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A server whose model tells what it cannot read and where it is unsure, at a site that has
    laterals read all the same; and its folder."""
    folder = tmp_path_factory.mktemp("gated")
    band = UnsureBand("pneumonia", 0.3, 0.7, 0.95, 120, 340, "made films")
    model = write_gated_model(folder / "gated.onnx", replace(gated_card(), unsure=(band,)))
    with served(folder, "--model", str(model), "--accept", "lateral") as address:
        yield address, folder


def sent(page: Page, folder: Path, condition: str) -> None:
    """Upload a film of a condition."""
    path = folder / f"{condition}.png"
    path.write_bytes(cv2.imencode(".png", gated_film(condition, 512))[1].tobytes())
    page.goto("/")
    page.set_input_files("#choose", path)
    expect(page.locator("#sent li.ended")).to_have_count(1)


def test_what_a_person_has_to_decide_is_said_where_it_is_sent_listed_and_shown(browser, gated):
    for page in opened(browser, gated[0]):
        sent(page, gated[1], "readable")
        expect(page.locator("#sent li.unsure")).to_contain_text("unsure: pneumonia, score")
        row = page.locator("table.films tbody tr", has_text="readable.png")
        expect(row.locator(".badge.unsure")).to_contain_text("unsure")
        page.get_by_role("link", name="Open the result").click()
        result = page.locator("section.result")
        expect(result).to_contain_text("A person has to decide: for pneumonia")
        expect(result).to_contain_text("unsure: 0.300 to 0.700")
        band, bar = (
            result.locator(f"svg.bar rect.{name}").bounding_box() for name in ("unsure", "ground")
        )
        assert band["width"] / bar["width"] == pytest.approx(0.4, abs=0.02)
        assert (band["x"] - bar["x"]) / bar["width"] == pytest.approx(0.3, abs=0.02)
        legend = page.locator("#verdict fieldset legend")
        expect(legend).to_have_text(re.compile("pneumonia: unsure, rather (positive|negative)"))
        page.goto("/")
        page.locator("select[name=status]").select_option("unsure")
        expect(page.locator("td.name").get_by_text("readable.png")).to_be_visible()
        page.locator("select[name=status]").select_option("negative")
        expect(page.get_by_role("heading", name="No film fits")).to_be_visible()


def test_a_film_that_is_read_although_it_would_be_refused_says_so(browser, gated):
    mark = "read although it would be refused: lateral"
    for page in opened(browser, gated[0]):
        sent(page, gated[1], "lateral")
        expect(page.locator("#sent li")).to_contain_text(mark)
        row = page.locator("table.films tbody tr", has_text="lateral.png")
        expect(row.locator(".accepted")).to_have_text(mark)
        page.get_by_role("link", name="Open the result").click()
        expect(page.locator("section.result .accepted")).to_have_text(mark)


def test_what_is_refused_by_the_network_says_what_it_is_and_what_to_do(browser, gated):
    for page in opened(browser, gated[0]):
        sent(page, gated[1], "inverted")
        said = "Black and white are exchanged. Export it again with white bones."
        expect(page.locator("#sent li")).to_contain_text(f"refused: {said}")
        page.get_by_role("link", name="Open the result").click()
        expect(page.locator("section.result .reason")).to_have_text(said)
        page.get_by_text("Details (inverted)").click()
        expect(page.locator("section.result details p")).to_contain_text("looks like a negative")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_is_unsure_or_accepted(browser, gated, scheme):
    for page in opened(browser, gated[0], color_scheme=scheme):
        sent(page, gated[1], "readable")
        sent(page, gated[1], "lateral")
        page.get_by_role("link", name="Open the result").click()
        page.wait_for_url(re.compile(r"/films/\d+$"))
        for path in (page.url, f"{page.url}/report", "/model", "/site", "/"):
            page.goto(path)
            page.wait_for_timeout(500)
            found = Axe().run(page).response["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [(one["id"], one["nodes"][0]["html"][:120]) for one in serious] == [], path


def test_an_earlier_film_of_the_patient_stands_beside_it(page, tmp_path):
    for n in range(2):
        path = tmp_path / f"visit {n}.dcm"
        pixels = film(300 + n, 300).astype(np.uint16) * 16
        path.write_bytes(dicom(pixels, 12, PatientID="Earlier-1"))
        show(page, path)
    expect(page.get_by_role("heading", name="Earlier films of this patient")).to_be_visible()
    # Where there is room; otherwise a button shows it.
    expect(page.locator("#beside")).to_be_visible()
    expect(page.locator("#beside")).to_contain_text("visit 0.dcm")
    page.get_by_role("button", name="Show the last one beside it").click()
    expect(page.locator("#beside")).to_be_hidden()


def test_a_verdict_is_kept_shown_and_exported(page, site, tmp_path):
    show(page, SAMPLES / "pneumonia-5.png")
    page.get_by_text("disagree", exact=True).click()
    page.get_by_label("Note").fill("rotated, read by hand")
    page.get_by_label("Your name (optional)").fill("Dr. Anna")
    page.get_by_role("button", name="Keep the verdict").click()
    expect(page.get_by_text("Thank you, it is kept.")).to_be_visible()
    expect(page.locator("#verdict")).to_contain_text("Last said: disagree, Dr. Anna")
    number = int(page.url.partition("#")[0].partition("?")[0].rpartition("/")[2].split("/")[0])
    (said,) = api(site, f"/v1/films/{number}")["verdicts"]
    assert (said["finding"], said["verdict"], said["by"]) == ("pneumonia", "disagree", "Dr. Anna")
    table = tmp_path / "all.csv"
    exported = CliRunner().invoke(
        cli,
        ["export-csv", str(table), "--ledger", str(site[1] / "ledger.db"), "--verdicts"],
    )
    assert exported.exit_code == 0, exported.output
    row = next(row for row in table.read_text().splitlines() if row.startswith("pneumonia-5.png"))
    assert 'disagree,"rotated, read by hand",Dr. Anna' in row
    page.goto("/?verdict=disagree")
    expect(page.locator("td.name").get_by_text("pneumonia-5.png")).to_be_visible()


def test_the_page_of_this_site_shows_drift(page):
    page.goto("/site?days=90")
    page.evaluate("scrollTo(0, 700)")
    # The made history's scores change in their twentieth week.
    chart = page.locator("svg[role=img]").nth(1)
    expect(chart).to_be_visible()
    weeks = (
        page.locator("figure")
        .nth(1)
        .locator("tbody tr")
        .evaluate_all(
            "rows => rows.map((row) => Array.from(row.cells, (cell) => cell.textContent.trim()))"
        )
    )
    assert weeks[0][0] == "tests"
    counts = np.array([[int(cell) for cell in row[1:]] for row in weeks[1:]])
    lowest = counts[:, 1] / counts[:, 0]  # the part of each week's films with a score below 10
    assert np.median(lowest[:16]) > 0.4
    assert np.median(lowest[-4:]) < 0.2
    expect(page.get_by_role("heading", name="Agreement with the verdicts")).to_be_visible()
    expect(page.locator("table.agreement")).to_contain_text("pneumonia")
    chart.scroll_into_view_if_needed()
    photographed(page, "site")


def test_the_page_of_the_model_shows_its_curves(page):
    page.goto("/model")
    expect(page.locator("main")).to_contain_text("pneumonia-children")
    expect(page.locator("svg[role=img]")).not_to_have_count(0)
    expect(page.locator("main")).to_contain_text("0.998")
    photographed(page, "model")


@pytest.mark.parametrize(
    ("language", "heading"),
    [("fr", "Radiographies"), ("es", "Radiografías"), ("pt", "Radiografias")],
)
def test_the_page_speaks_the_language_of_whoever_looks(page, language, heading):
    page.goto("/")
    page.locator("#language").select_option(language)
    page.wait_for_url("**/")
    expect(page.locator("html")).to_have_attribute("lang", language)
    said = page.locator("h1").inner_text()
    page.goto("/model")
    expect(page.locator("html")).to_have_attribute("lang", language)
    assert said != "Films"
    assert page.locator("aside.banner").inner_text() != (
        "Not for diagnostic use: a trained person must read every film."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious(browser, site, path, scheme):
    for page in opened(browser, site[0], color_scheme=scheme):
        page.goto(path.format(film=newest(site)["id"]))
        page.wait_for_load_state("networkidle") if path != "/" else page.wait_for_timeout(500)
        found = Axe().run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], one["nodes"][0]["html"][:120]) for one in serious] == []
        if scheme == "dark" and path.endswith("{film}"):
            photographed(page, "film-dark")


@pytest.mark.parametrize("path", PAGES)
def test_it_fits_a_phone(browser, site, path):
    for page in opened(browser, site[0], is_mobile=True, has_touch=True):
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(path.format(film=newest(site)["id"]))
        page.wait_for_timeout(300)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{wide} px"
        if path == "/":
            photographed(page, "phone")


def test_a_report_prints_on_one_page(page, site, tmp_path):
    show(page, SAMPLES / "pneumonia-3.dcm")
    page.get_by_role("link", name="Print or PDF").click()
    wait_until_drawn(page)
    page.wait_for_timeout(500)
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    expect(page.locator("article")).to_contain_text("Not for diagnostic use")


def test_a_page_without_javascript_still_shows_films_and_takes_verdicts(browser, site):
    for page in opened(browser, site[0], java_script_enabled=False):
        page.goto("/?order=score")
        page.locator("td.name a").first.click()
        page.get_by_text("agree", exact=True).first.click()
        page.get_by_role("button", name="Keep the verdict").click()
        expect(page.get_by_text("Thank you, it is kept.")).to_be_visible()


def test_who_is_not_logged_in_sees_nothing_and_who_is_sees_all(browser, tmp_path):
    access = tmp_path / "access.toml"
    set_password = CliRunner().invoke(
        cli,
        ["serve", "--access", str(access), "--set-password", "anna"],
        input="a good password\n" * 2,
    )
    assert set_password.exit_code == 0, set_password.output
    with served(tmp_path / "served", "--access", str(access)) as address:
        for page in opened(browser, address):
            page.goto("/model")
            assert "/login" in page.url
            expect(page.locator("main")).not_to_contain_text("pneumonia")
            page.get_by_label("Name").fill("anna")
            page.get_by_label("Password").fill("a wrong password")
            page.get_by_role("button", name="Log in").click()
            expect(page.locator(".wrong")).to_be_visible()
            page.get_by_label("Name").fill("anna")
            page.get_by_label("Password").fill("a good password")
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url("**/model")
            expect(page.locator("main")).to_contain_text("pneumonia-children")
            show(page, SAMPLES / "normal-1.jpg")
            page.get_by_text("agree", exact=True).click()
            page.get_by_role("button", name="Keep the verdict").click()
            expect(page.locator("#verdict")).to_contain_text("agree, anna")
            page.get_by_role("button", name="Log out").click()
            page.goto("/")
            assert "/login" in page.url
    said = (tmp_path / "served" / "audit.log").read_text(encoding="utf-8")
    actions = [json.loads(line)["action"] for line in said.splitlines()]
    assert actions.count("login_failed") == 1
    assert {"login", "upload", "view_film", "verdict", "logout"} <= set(actions)
    assert "normal-1" not in said
