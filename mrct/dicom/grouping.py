"""Images grouped into `Series`, so that a series holds images of one kind, each place at most once.

The header of one image never speaks for another: a SeriesInstanceUID or a folder may hold T1 and T2, CT and MR, two
kernels or two scans. `group` parts it in this order:

1. Kinds. Images that differ in one of `KINDS` are never in one series, wherever they lie: study, modality, series
   number, description, contrast agent, kind of pulse sequence, times and angle, b-value, kernel, content by ImageType. Numbers that
   differ by less than a tenth are one value, and so are numbers between which others lead in such steps: scanners round
   them and adapt them from slice to slice. An image whose header lacks a value belongs to the only kind that lacks an
   image at its place, if such images are few.
2. Variants. A scan may legitimately differ along the head in `VARIANTS`, such as thickness and tube voltage: thin slices
   at the base, thick ones above. It is parted by them only where the parts lie at the same places.
3. Scans. Acquisition numbers differ within a scan: they count rotations of the gantry, or passes of interleaved slices.
   Only where places are imaged repeatedly, a series is parted so that each scan images each place once: by date,
   irradiation event, acquisition number or temporal position, whichever does so, else by the order of acquisition and
   instance numbers. The order counts only if each number occurs once, and if the scans follow each other or visit the
   places in the same order.
4. What is left. Single images at one place that no number tells apart are left out, with a note. More of them stay
   together, and `mrct.dicom.stack` refuses the series. Time series stay together for the rule `perfusion`.

The result does not depend on file names. The time of day is not used, because de-identification removes it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrct.dicom.series import SCAN_SHARE, TIME_POINTS, Instance, Series

#: The plane of an image: (direction, level), both numbered within a folder; None without geometry.
Place = tuple[int, int] | None

# a protocol sets a time once; rounding and adaption to the slice change it by less
_NEAR = 1.1
# half of the last digit of positions with one decimal
_SAME_PLACE_MM = 0.05
# direction cosines are written with as few as three decimals
_SAME_DIRECTION = 0.01
# one or two images that are repeated by chance do not part a series
_CHANCE = 2
# of the images beyond the largest part, this share lies at places of other parts if the parts repeat each other
_SHARED_PLACES = 0.5
# scans that only their order tells apart each image this share of the places of the largest one
_WHOLE_SHARE = 0.75


class Placed(NamedTuple):
    """An image and its place."""

    image: Instance
    place: Place

    @property
    def turn(self) -> tuple[int, int, int]:
        """The order in which images are taken."""
        return self.image.acquisition_number, self.image.instance_number, self.image.frame or 0


@dataclass(frozen=True)
class Part:
    """Images that are not parted yet, and the name of their series."""

    name: str
    members: tuple[Placed, ...]

    @property
    def places(self) -> list[Place]:
        return [one.place for one in self.members]


@dataclass(frozen=True)
class Trait:
    """A header value that tells images apart.

    Attributes:
        letter: Names of the parts end in this letter and a number.
        value: Function that returns the value of an image, or None if its header does not tell it.
        near: Whether the value is a number of which near ones are the same.
    """

    letter: str
    value: Callable[[Instance], Any]
    near: bool = False


def _of_mr(value: Callable[[Instance], Any]) -> Callable[[Instance], Any]:
    return lambda image: value(image) if image.modality == "MR" else None


def _inversion_time(image: Instance) -> float | None:
    """Return 0 for an image without inversion; None if inversion recovery does not state its time."""
    return image.ti_ms if image.ti_ms or "IR" in image.scanning_sequence else 0.0


#: Images that differ in one of these are never in one series.
KINDS = (
    Trait("v", lambda image: image.study_uid or None),
    Trait("m", lambda image: image.modality),
    Trait("n", lambda image: image.series_number or None),
    Trait("d", lambda image: image.description.upper() or None),
    Trait("c", lambda image: image.contrast_agent),
    Trait("e", _of_mr(lambda image: image.te_ms), near=True),
    Trait("a", _of_mr(lambda image: image.scanning_sequence or None)),
    Trait("a", _of_mr(lambda image: image.sequence_variant or None)),
    Trait("a", _of_mr(lambda image: image.scan_options or None)),
    Trait("a", _of_mr(lambda image: image.tr_ms), near=True),
    Trait("a", _of_mr(_inversion_time), near=True),
    Trait("a", _of_mr(lambda image: image.flip_angle_deg), near=True),
    Trait("k", lambda image: image.kernel or None),
    # the values from the third on say what the modality shows (PS3.3 C.7.6.1.1.2)
    Trait("i", lambda image: image.image_type[2:] or None),
)
_B_VALUE = Trait("a", lambda image: image.diffusion_b_value)
#: A scan may differ in these from place to place; they part images that lie at the same places.
VARIANTS = (
    Trait("e", _of_mr(lambda image: None if image.te_ms is None else round(image.te_ms))),
    Trait("a", _of_mr(lambda image: None if image.tr_ms is None else round(image.tr_ms))),
    Trait("a", _of_mr(lambda image: None if image.ti_ms is None else round(image.ti_ms))),
    Trait("a", _of_mr(lambda image: image.flip_angle_deg)),
    Trait("a", lambda image: image.tube_kv),
    Trait("a", lambda image: image.thickness_mm),
    Trait("i", lambda image: image.image_type or None),
)
#: Values that may number the scans of a series.
SCANS = (
    Trait("s", lambda image: image.acquired),
    Trait("s", lambda image: image.acquisition_uid or None),
    Trait("s", lambda image: image.acquisition_number or None),
    Trait("s", lambda image: image.temporal_position),
)


def group(instances: Iterable[Instance], key: Callable[[Instance], tuple[str, str]]) -> list[Series]:
    """Group images into series of one kind, as the module describes.

    Args:
        instances: Images in any order; copies of an image count once.
        key: Function that returns the patient and the series name of an image.

    Returns:
        The series, sorted by patient and name. The names of parts end in a letter and a number for each trait that
        parts them: -v1 (study), -m1 (modality), -n1 (series number), -d1 (description), -c1 (contrast agent), -e1 (echo), -a1 (other
        acquisition), -k1 (kernel), -i1 (image type), -s1 (scan).
    """
    folders: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        folders[key(instance)].append(instance)
    return [
        _series(patient, part)
        for (patient, name), members in sorted(folders.items(), key=lambda item: item[0])
        for part in _parts(Part(name, _placed(_without_copies(members))))
    ]


def _parts(whole: Part) -> list[Part]:
    parts = [whole]
    for trait in KINDS:
        parts = [part for one in parts for part in _split(one, trait.letter, _labels(one, trait))]
    parts = [part for one in map(_with_b_values, parts) for part in _split(one, "a", _labels(one, _B_VALUE))]
    for trait in VARIANTS:
        parts = [part for one in parts for part in _split_repeated(one, trait)]
    return [part for one in parts for part in _split(one, "s", _scans(one))]


def _series(patient: str, part: Part) -> Series:
    members, notes = _told_apart(part)
    return Series(patient, part.name, tuple(one.image for one in members), notes)


def _without_copies(images: Iterable[Instance]) -> list[Instance]:
    """Sort the images and drop copies: equal headers with equal SOP Instance UID in several files."""
    seen, unique = set(), []
    for image in sorted(images, key=_order):
        content = replace(image, path=Path())
        if not image.sop_instance_uid or content not in seen:
            unique.append(image)
        seen.add(content)
    return unique


def _order(image: Instance) -> tuple[Any, ...]:
    """Sort by number, then by place; identifiers and names only make the order of equal images complete."""
    at = image.position or ()
    numbers = image.instance_number, image.acquisition_number, at, image.frame or 0
    return *numbers, image.sop_instance_uid, str(image.path)


def _placed(images: Sequence[Instance]) -> tuple[Placed, ...]:
    """Find the place of each image: images of one direction whose levels differ by less than 0.05 mm share it."""
    directions: list[np.ndarray] = []
    levels: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for n, image in enumerate(images):
        if image.position is None or image.orientation is None:
            continue
        normal = np.cross(image.orientation[:3], image.orientation[3:])
        near = (d for d, other in enumerate(directions) if np.abs(normal - other).max() < _SAME_DIRECTION)
        direction = next(near, len(directions))
        if direction == len(directions):
            directions.append(normal)
        levels[direction].append((float(np.dot(image.position, directions[direction])), n))
    places: list[Place] = [None] * len(images)
    for direction, found in levels.items():
        found.sort()
        steps = [0, *(upper[0] - lower[0] > _SAME_PLACE_MM for lower, upper in pairwise(found))]
        for (_, n), index in zip(found, np.cumsum(steps).tolist(), strict=True):
            places[n] = (direction, index)
    return tuple(map(Placed, images, places))


# --- traits ---------------------------------------------------------------------------------


def _labels(part: Part, trait: Trait) -> list[Any]:
    """Return the value of each image, near numbers as one value; None where it is not told."""
    values = [trait.value(one.image) for one in part.members]
    if trait.near:
        names = _near_values(values)
        values = [None if value is None else names[value] for value in values]
    return _completed(values, part.places)


def _near_values(values: Iterable[float | None]) -> dict[float, float]:
    """Map each number to the least of those to which steps below a tenth lead."""
    names: dict[float, float] = {}
    last = None
    for value in sorted({value for value in values if value is not None}):
        names[value] = value if last is None or value > last * _NEAR else names[last]
        last = value
    return names


def _completed(values: list[Any], places: Sequence[Place]) -> list[Any]:
    """Give an image without a value the only value that is missing at its place, if such images are few."""
    absent = Counter(place for place, value in zip(places, values, strict=True) if value is None)
    if not 0 < absent.total() <= SCAN_SHARE * len(values):
        return values
    taken = defaultdict(set)
    for place, value in zip(places, values, strict=True):
        if value is not None:
            taken[value].add(place)
    result = list(values)
    for n, (place, value) in enumerate(zip(places, values, strict=True)):
        vacant = [name for name, held in taken.items() if place not in held]
        if value is None and len(vacant) == 1 and absent[place] == 1:
            result[n] = vacant[0]
    return result


def _with_b_values(part: Part) -> Part:
    """Write b = 0 into images without a b-value in a series of diffusion images, so that their rule knows them."""
    if all(one.image.diffusion_b_value is None for one in part.members):
        return part
    known = [
        one._replace(image=replace(one.image, diffusion_b_value=one.image.diffusion_b_value or 0.0))
        for one in part.members
    ]
    return replace(part, members=tuple(known))


def _split(part: Part, letter: str, labels: Sequence[Any]) -> list[Part]:
    """Divide the images by label, in the order of the labels; unknown ones come last."""
    if len(set(labels)) < 2:
        return [part]
    found: dict[Any, list[Placed]] = defaultdict(list)
    for one, label in zip(part.members, labels, strict=True):
        found[label].append(one)
    order = sorted(found, key=lambda label: (label is None, 0 if label is None else label))
    return [Part(f"{part.name}-{letter}{n}", tuple(found[label])) for n, label in enumerate(order, 1)]


def _split_repeated(part: Part, trait: Trait) -> list[Part]:
    """Divide the images by the trait if the parts lie at the same places."""
    labels = _labels(part, trait)
    pairs = {(label, place) for label, place in zip(labels, part.places, strict=True) if place is not None}
    repeats = len(pairs) - len({place for _, place in pairs})
    beyond = len(pairs) - max(Counter(label for label, _ in pairs).values(), default=0)
    together = repeats > _CHANCE and repeats >= _SHARED_PLACES * beyond
    return _split(part, trait.letter, labels) if together else [part]


# --- scans ----------------------------------------------------------------------------------


def _scans(part: Part) -> list[int]:
    """Return the scan (from 0) of each image; all are 0 for one scan, a time series, and what cannot be told apart."""
    one_scan = [0] * len(part.members)
    visits = Counter(part.places)
    times = max(visits.values())
    if None in visits or len(visits) < 2 or times >= TIME_POINTS or _repeats(part) <= SCAN_SHARE * visits.total():
        return one_scan
    for trait in SCANS:
        labels = [trait.value(one.image) for one in part.members]
        pairs = set(zip(labels, part.places, strict=True))
        if len(set(labels)) == times and len(pairs) == len(labels):
            return _ranked(part, labels)
    return _by_order(part, times) or one_scan


def _repeats(part: Part) -> int:
    return len(part.members) - len(set(part.places))


def _ranked(part: Part, labels: Sequence[Any]) -> list[int]:
    """Number the labels in the order in which they are first taken."""
    start = {label: min(one.turn for one, own in zip(part.members, labels, strict=True) if own == label) for label in set(labels)}
    order = sorted(start, key=lambda label: (start[label], label is None, 0 if label is None else label))
    return [order.index(label) for label in labels]


def _by_order(part: Part, times: int) -> list[int]:
    """Give image n of a place, in the order of its numbers, to scan n; [] if that order is not sure to be that of scans."""
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


def _told_apart(part: Part) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
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
