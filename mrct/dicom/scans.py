"""Scans of one kind at the same places in one series; mrct/dicom/grouping.py says what tells them apart."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from mrct.dicom.places import Part, Place, Placed
from mrct.dicom.series import SCAN_SHARE, TIME_POINTS, Instance

# scans that only their order tells apart each image this share of the places of the largest one
_WHOLE_SHARE = 0.75
# fewer numbers do not show that a count starts again
_FEWEST = 3

#: Values that may number the scans of a series.
_NUMBERS: tuple[Callable[[Instance], Any], ...] = (
    lambda image: image.acquired,
    lambda image: image.acquisition_uid or None,
    lambda image: image.acquisition_number or None,
    lambda image: image.temporal_position,
)


def number_scans(part: Part) -> list[int]:
    """Return the scan (from 0) of each image; all are 0 for one scan, a time series, and what cannot be told apart."""
    one_scan = [0] * len(part.members)
    visits = Counter(part.places)
    times = max(visits.values())
    if times < TIME_POINTS and restarts(part.images):
        return _by_restart(part) or one_scan
    if (
        None in visits
        or len(visits) < 2
        or times >= TIME_POINTS
        or _repeats(part) <= SCAN_SHARE * visits.total()
    ):
        return one_scan
    for number in _NUMBERS:
        labels = [number(one.image) for one in part.members]
        pairs = set(zip(labels, part.places, strict=True))
        if len(set(labels)) == times and len(pairs) == len(labels):
            return _ranked(part, labels)
    return _by_order(part, times) or one_scan


def restarts(images: Sequence[Instance]) -> bool:
    """Return whether the instance numbers start again within one acquisition number: a second scan begins.

    Its places may lie between those of the first scan, so that both together look like one scan with finer slices.
    Numbers that are absent, or one for all images, say nothing.
    """
    numbers = [
        (one.series_uid, one.series_number, one.acquisition_number, one.instance_number)
        + (() if one.frame is None else (str(one.path), one.frame))
        for one in images
    ]
    distinct = set(numbers)
    if len(distinct) < _FEWEST or any(one.instance_number <= 0 for one in images):
        return False
    return len(numbers) - len(distinct) > SCAN_SHARE * len(numbers)


def _by_restart(part: Part) -> list[int]:
    """Number the scans by the first value that separates equal instance numbers; [] if none does."""
    for number in _NUMBERS:
        labels = [number(one.image) for one in part.members]
        n = len(labels)
        turns = {(label, one.turn) for label, one in zip(labels, part.members, strict=True)}
        places = {(label, one.place) for label, one in zip(labels, part.members, strict=True)}
        if len(set(labels)) > 1 and len(turns) == len(places) == n:
            return _ranked(part, labels)
    return []


def _repeats(part: Part) -> int:
    return len(part.members) - len(set(part.places))


def _ranked(part: Part, labels: Sequence[Any]) -> list[int]:
    """Number the labels in the order in which they are first taken."""
    start = {
        label: min(one.turn for one, own in zip(part.members, labels, strict=True) if own == label)
        for label in set(labels)
    }
    order = sorted(start, key=lambda label: (start[label], label is None, 0 if label is None else label))
    return [order.index(label) for label in labels]


def _by_order(part: Part, times: int) -> list[int]:
    """Give image n of a place, in the order of the numbers, to scan n; return [] if that may mix the scans."""
    turns = [one.turn for one in part.members]
    order = sorted(range(len(turns)), key=turns.__getitem__)
    visits: Counter[Place] = Counter()
    scans = [0] * len(turns)
    route: list[list[Place]] = [[] for _ in range(times)]
    for n in order:
        place = part.members[n].place
        scans[n] = visits[place]
        route[visits[place]].append(place)
        visits[place] += 1
    sizes = list(map(len, route))
    if len(set(turns)) < len(turns) or min(sizes) < _WHOLE_SHARE * max(sizes):
        return []
    one_after_another = all(a <= b for a, b in pairwise(scans[n] for n in order))
    same_route = all(_in_order(later, route[0]) for later in route[1:])
    return scans if one_after_another or same_route else []


def _in_order(some: Sequence[Place], all_places: Sequence[Place]) -> bool:
    rank = {place: n for n, place in enumerate(all_places)}
    ranks = [rank[place] for place in some]
    return ranks == sorted(ranks)


def leave_out_unclear(part: Part) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """Leave out single images at one place whose numbers are equal, and say so.

    Where the numbers differ, `mrct.dicom.stack` uses the first.
    """
    if not 0 < _repeats(part) <= SCAN_SHARE * len(part.members):
        return part.members, ()
    found: dict[Place, list[Placed]] = defaultdict(list)
    for one in part.members:
        found[one.place].append(one)
    unclear = {
        place
        for place, here in found.items()
        if place is not None and sum(one.turn == min(two.turn for two in here) for one in here) > 1
    }
    if not unclear:
        return part.members, ()
    kept = tuple(one for one in part.members if one.place not in unclear)
    note = f"{len(part.members) - len(kept)} images left out: no number tells those at one place apart"
    return kept, (note,)
