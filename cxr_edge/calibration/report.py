"""A site profile as a person reads it."""

from ..evidence import Interval
from ..language import Message, _
from ..profile import AS_IT_IS, OWN_FILMS, REACH, TEMPERATURE, SitePoint, SiteProfile
from ..words import finding_told


def page(profile: SiteProfile) -> list[str]:
    """The lines that tell what the model is at the site."""
    lines = [
        _("{profile}: {model}, made {day} from {labels}, {n} films").format(
            profile=profile.label,
            model=f"{profile.model} {profile.model_version} ({profile.model_sha256[:12]})",
            day=profile.made_at[:10],
            labels=profile.labels,
            n=profile.n_films,
        )
    ]
    for point in profile.points:
        n_films = _("{finding}: {n_present} films with it, {n_absent} without")
        lines += [
            "",
            n_films.format(
                finding=finding_told(point.finding),
                n_present=point.n_present,
                n_absent=point.n_absent,
            ),
            *_aligned(_rows(point)),
        ]
    lines += [
        "",
        _(
            "Intervals are of 95 %. Each film was judged by a threshold, and calibrated by a map, "
            "found without the films of its patient."
        ),
    ]
    if profile.reference is not None:
        lines.append(_("Drift: later weeks here are compared with these films."))
    else:
        lines.append(
            _("Drift: too few films; later weeks are compared with those of the model's card.")
        )
    return lines


def warnings(point: SitePoint) -> list[Message]:
    """What keeps a finding's figures from saying more."""
    said = []
    n_present, n_absent = point.n_missing
    lacks = []
    if n_present:
        lacks.append(Message("{n} more with it", n=n_present))
    if n_absent:
        lacks.append(Message("{n} more without", n=n_absent))
    if lacks:
        said.append(
            Message(
                "{finding}: too few films. For intervals that reach {reach} points to either side "
                "it takes {lacks}, each of another patient.",
                finding=point.finding,
                reach=f"{100 * REACH:g}",
                lacks=Message.joined(lacks, ", "),
            )
        )
    if point.unsure is None:
        said.append(
            Message(
                "{finding}: too few films to tell where the model is unsure; every film gets an "
                "answer.",
                finding=point.finding,
            )
        )
    elif point.unsure.measured_on != OWN_FILMS:
        said.append(
            Message(
                "{finding}: too few films to tell where the model is unsure here; the band of the "
                "model's card stays.",
                finding=point.finding,
            )
        )
    return said


def _rows(point: SitePoint) -> list[tuple[str, str]]:
    given = (
        _("at a prevalence of {part}, as given")
        if point.is_given
        else _("at a prevalence of {part}, that of these films")
    )
    prevalence = given.format(part=f"{point.prevalence:.3f}")
    rows = [
        (
            _("positive from"),
            _("{threshold}; on the model's own scale {model}").format(
                threshold=_interval(point.threshold), model=f"{point.model_threshold:.3f}"
            ),
        ),
        (
            _("sensitivity"),
            _("{figure}, aim {aim}").format(
                figure=_interval(point.sensitivity), aim=f"{point.target_sensitivity:g}"
            ),
        ),
        (_("specificity"), _interval(point.specificity)),
        (_("PPV"), f"{_interval(point.ppv)} {prevalence}"),
        (_("NPV"), f"{_interval(point.npv)} {prevalence}"),
    ]
    if point.unsure is not None:
        band = _("from {low} to below {high}: outside at most {part} of either label are wrong")
        rows.append(
            (
                _("unsure"),
                band.format(
                    low=f"{point.unsure.low:.3f}",
                    high=f"{point.unsure.high:.3f}",
                    part=f"{100 * (1 - point.unsure.coverage):.3g} %",
                ),
            )
        )
    rows.append((_("probability"), _calibration(point)))
    return rows


def _calibration(point: SitePoint) -> str:
    one = point.probability
    if one.kind == AS_IT_IS:
        as_it_is = _("the model's own, which no calibration improves; Brier score {before}")
        return as_it_is.format(before=_interval(point.brier_before))
    how = _("isotonic")
    if one.kind == TEMPERATURE:
        how = _("temperature {temperature}, offset {offset}").format(
            temperature=f"{one.temperature:.3f}", offset=f"{one.offset:.3f}"
        )
    return _("{how}; Brier score {after}, before {before}").format(
        how=how, after=_interval(point.brier_after), before=_interval(point.brier_before)
    )


def _interval(one: Interval | None) -> str:
    if one is None:
        return _("not known")
    low_to_high = _("{low} to {high}").format(low=f"{one.low:.3f}", high=f"{one.high:.3f}")
    return f"{one.value:.3f} ({low_to_high})"


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    wide = max(len(name) for name, _said in rows)
    return [f"  {name:{wide}}  {said}" for name, said in rows]
