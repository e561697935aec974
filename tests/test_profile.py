"""A site profile is for one model, as it was measured."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_edge.errors import ProfileError, SettingsError
from cxr_edge.evidence import Interval
from cxr_edge.model_card import UnsureBand
from cxr_edge.profile import (
    ISOTONIC,
    SCHEMA_VERSION,
    TEMPERATURE,
    UNCHANGED,
    ProbabilityMap,
    SitePoint,
    SiteProfile,
    check_name,
    read_profile,
)
from cxr_edge.profiles import Profiles, user_profiles_folder
from tests.tiny_model import tiny_card

DIGEST, TWIN, OTHER = "a" * 64, "b" * 64, "c" * 64
SOME = Interval(0.5, 0.4, 0.6)
POINT = SitePoint(
    finding="pneumonia",
    threshold=Interval(0.3, 0.2, 0.4),
    model_threshold=0.6,
    target_sensitivity=0.9,
    sensitivity=SOME,
    specificity=SOME,
    ppv=SOME,
    npv=None,
    prevalence=0.25,
    is_given=False,
    n_present=40,
    n_absent=120,
    n_patients_present=40,
    n_patients_absent=110,
    unsure=UnsureBand("pneumonia", 0.2, 0.5, 0.95, 40, 120, "films of this site"),
    probability=ProbabilityMap(TEMPERATURE, 1.5, -0.3, ()),
    brier_before=SOME,
    brier_after=SOME,
)
PROFILE = SiteProfile(
    schema_version=SCHEMA_VERSION,
    name="Clinique Müller",
    model="tiny",
    model_version="1",
    model_sha256=DIGEST,
    twin_sha256=TWIN,
    made_at="2026-11-21T12:00:00+00:00",
    made_by="0.8",
    labels="labels.csv",
    films_digest="d" * 64,
    n_films=160,
    n_left_out=2,
    points=(POINT,),
    reference=None,
)


@pytest.fixture
def profiles(tmp_path) -> Profiles:
    found = Profiles(tmp_path / "profiles")
    found.keep(PROFILE)
    return found


def stored(profiles: Profiles) -> Path:
    (path,) = profiles.paths()
    return path


def test_a_profile_comes_back_as_it_was_stored(profiles):
    assert profiles.active(tiny_card(), DIGEST) == PROFILE
    assert read_profile(stored(profiles)).label == PROFILE.label
    assert PROFILE.label == f"Clinique Müller {PROFILE.digest[:8]}"


@pytest.mark.parametrize(
    "one",
    [
        UNCHANGED,
        ProbabilityMap(ISOTONIC, 1.0, 0.0, ((0.0, 0.0), (0.1 + 0.2, 1 / 3), (1.0, 1.0))),
    ],
)
def test_whatever_calibrates_it_every_number_comes_back(tmp_path, one):
    profile = replace(PROFILE, points=(replace(POINT, probability=one, unsure=None),))
    profiles = Profiles(tmp_path)
    assert read_profile(profiles.keep(profile)) == profile


def test_a_reading_process_gets_the_same_profile():
    assert pickle.loads(pickle.dumps(PROFILE)).label == PROFILE.label


def test_without_a_profile_a_model_is_judged_by_its_card(tmp_path, profiles):
    assert Profiles(tmp_path / "none").active(tiny_card(), DIGEST) is None
    assert profiles.active(replace(tiny_card(), name="other"), OTHER) is None


def test_another_model_of_that_name_is_refused_until_it_is_done_again(profiles):
    newer = replace(tiny_card(), version="2")
    with pytest.raises(ProfileError) as caught:
        profiles.active(newer, OTHER)
    assert caught.value.exit_code == 9
    for part in (PROFILE.label, "made for tiny 1 (aaaaaaaaaaaa)", "by tiny 2 (cccccccccccc)"):
        assert part in caught.value.message
    assert "cxr-edge calibrate" in caught.value.next_step
    assert "cxr-edge profile off tiny" in caught.value.next_step
    again = replace(PROFILE, model_version="2", model_sha256=OTHER)
    profiles.keep(again)
    assert profiles.active(newer, OTHER) == again
    assert len(profiles.paths()) == 2  # the earlier one stays
    with pytest.raises(ProfileError):
        profiles.active(tiny_card(), DIGEST)


def test_the_twin_that_steps_in_is_judged_by_it_too(profiles):
    assert profiles.active(tiny_card(), TWIN) == PROFILE
    without = replace(PROFILE, twin_sha256="")
    assert without.fits(DIGEST) and not without.fits(TWIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"value": 0.3,', '"value": 0.31,'),
        ('"model_threshold": 0.6,', '"model_threshold": 0.5,'),
        (f'"model_sha256": "{DIGEST}"', f'"model_sha256": "{OTHER}"'),
        ('"n_films": 160', '"n_films": 1600'),
        ('"offset": -0.3', '"offset": 0'),
    ],
)
def test_a_profile_that_was_edited_is_refused(profiles, old, new):
    path = stored(profiles)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ProfileError, match="was edited or damaged") as caught:
        profiles.active(tiny_card(), DIGEST)
    assert "cxr-edge calibrate" in caught.value.next_step


def test_its_layout_is_no_part_of_what_it_says(profiles):
    path = stored(profiles)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=4))
    assert profiles.active(tiny_card(), DIGEST) == PROFILE


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"n_films"', '"n_filns"'),
        lambda text: text.replace('"schema_version": 2', '"schema_version": 1'),
        lambda text: text.replace('"value": 0.3,', '"value": 7,'),
        lambda text: text.replace('"low": 0.2,', '"low": NaN,'),
        lambda text: "[" * 100_000,
    ],
)
def test_what_is_no_profile_is_refused(profiles, change):
    path = stored(profiles)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ProfileError, match=r"no site profile of this version|edited or damaged"):
        profiles.active(tiny_card(), DIGEST)


def test_a_profile_that_has_gone_is_not_passed_over(profiles):
    stored(profiles).unlink()
    with pytest.raises(ProfileError, match="cannot be read"):
        profiles.active(tiny_card(), DIGEST)


def test_a_profile_under_another_ones_name_is_refused(profiles):
    path = stored(profiles)
    path.write_text(replace(PROFILE, n_films=7).to_json(), encoding="utf-8")
    with pytest.raises(ProfileError, match="was edited or damaged"):
        profiles.active(tiny_card(), DIGEST)


@pytest.mark.parametrize("text", ["", "{", '{"used": 3}', '{"used": {"tiny": "../../etc"}}', "[1]"])
def test_what_is_used_must_be_told_plainly(profiles, text):
    (profiles.folder / "used.json").write_text(text)
    with pytest.raises(ProfileError, match=r"used\.json cannot be read"):
        profiles.active(tiny_card(), DIGEST)


def test_an_earlier_profile_may_be_used_again(profiles):
    later = replace(PROFILE, made_at="2026-11-22T12:00:00+00:00", n_films=161)
    profiles.keep(later)
    assert profiles.find("Clinique Müller") == later
    for name in (PROFILE.label, PROFILE.digest[:6], PROFILE.digest):
        assert profiles.find(name) == PROFILE
    profiles.use(PROFILE)
    assert profiles.active(tiny_card(), DIGEST) == PROFILE
    for name in ("", "tiny", "nothing", PROFILE.digest[:3]):
        with pytest.raises(ProfileError, match="There is no site profile"):
            profiles.find(name)


def test_a_profile_is_used_no_more_and_stays(profiles):
    profiles.keep(replace(PROFILE, model="other"))
    assert profiles.off("nothing") == []
    assert profiles.off("tiny") == ["tiny"]
    assert profiles.active(tiny_card(), OTHER) is None
    assert profiles.off() == ["other"]
    assert len(profiles.paths()) == 2


def test_a_damaged_one_can_be_put_out_of_use(profiles):
    stored(profiles).write_text("")
    for name in (PROFILE.digest, PROFILE.digest[:8]):
        with pytest.raises(ProfileError, match="no site profile of this version"):
            profiles.find(name)
    assert profiles.off("tiny") == ["tiny"]
    assert profiles.active(tiny_card(), DIGEST) is None


def test_a_profile_that_is_removed_is_used_no_more(profiles):
    other = replace(PROFILE, n_films=7)
    profiles.keep(other)
    profiles.remove(PROFILE)
    assert profiles.active(tiny_card(), DIGEST) == other
    profiles.remove(other)
    assert profiles.active(tiny_card(), DIGEST) is None
    assert profiles.paths() == []


@pytest.mark.parametrize("name", ["", "=1+1", "-", " a", "a ", "a\nb", "a/b", "x" * 41, "a;b"])
def test_a_name_that_a_row_could_not_hold_is_refused(name):
    with pytest.raises(SettingsError, match="cannot be called"):
        check_name(name)
    with pytest.raises(ValueError):
        replace(PROFILE, name=name)


@pytest.mark.parametrize("name", ["site", "Clinique Müller 2", "肺-1", "a.b_c"])
def test_a_name_in_any_script_will_do(name):
    check_name(name)


def test_profiles_lie_beside_the_installed_models(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_EDGE_MODELS", str(tmp_path / "models"))
    assert user_profiles_folder() == tmp_path / "profiles"
    monkeypatch.setenv("CXR_EDGE_PROFILES", str(tmp_path / "elsewhere"))
    assert user_profiles_folder() == tmp_path / "elsewhere"
