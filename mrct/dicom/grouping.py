"""Images grouped into `Series`, so that a series holds images of one kind, each place once.

The header of one image never speaks for another: a SeriesInstanceUID or a folder may hold T1 and T2, CT and MR, two
kernels or two scans. `group` parts it in this order:

1. Kinds. Images that differ in one of `KINDS` are never in one series, wherever they lie: study, modality, series
   number, description, contrast agent, echo, kind and times of the pulse sequence, b-value, kernel, content by
   ImageType. Numbers that differ by less than a tenth count as one, and so do numbers that are linked by such steps:
   scanners round them and adapt them from slice to slice. An image whose header lacks a value belongs to the only kind
   that lacks an image at its place, if such images are few.
2. Variants. A scan may legitimately differ along the head in `VARIANTS`, such as thickness and tube voltage: thin
   slices at the base, thick ones above. It is parted by them only where the parts lie at the same places.
3. Scans. Acquisition numbers may differ within a scan: they count rotations of the gantry, or passes of interleaved
   slices. Only a series whose places are imaged repeatedly is parted, so that each scan images each place once: by
   date, acquisition UID, acquisition number or temporal position, the first that does so, else by the order of
   acquisition and instance numbers. That order counts only if no number occurs twice, and if the scans follow each
   other or visit the places in the same order. Instance numbers that start again show a second scan even if its
   places lie between those of the first.
4. What is left. Single images at one place that no number tells apart are left out, with a note. More of them stay
   together, and `mrct.dicom.stack` refuses the series. Time series stay together for the rule `perfusion`.

The result does not depend on file names. The time of day is not used, because de-identification removes it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mrct.dicom.places import Part, Place, Placed, find_places
from mrct.dicom.scans import leave_out_unclear, number_scans
from mrct.dicom.series import SCAN_SHARE, Instance, Series

# a protocol sets a time once; rounding and adaption to the slice change it by less
_NEAR = 1.1
# one or two images that are repeated by chance do not part a series
_CHANCE = 2
# of the images beyond the largest part, this share lies at places of other parts if the parts repeat each other
_SHARED_PLACES = 0.5


@dataclass(frozen=True)
class Trait:
    """A header value that tells images apart.

    Attributes:
        letter: Names of the parts end in this letter and a number.
        value: Function that returns the value of an image, or None if its header does not tell it.
        near: Whether the value is a number of which near ones are the same.
        words: Whether the value is made of words, of which a few images may have more or less.
    """

    letter: str
    value: Callable[[Instance], Any]
    near: bool = False
    words: bool = False


def _of_mr(value: Callable[[Instance], Any]) -> Callable[[Instance], Any]:
    return lambda image: value(image) if image.modality == "MR" else None


def _known(*words: str) -> Callable[[Sequence[str]], tuple[str, ...] | None]:
    """Return a function that keeps these words of a value, or returns None if there are none."""
    return lambda value: tuple(word for word in words if word in value) or None


# defined terms of PS3.3 C.8.3.1
_scanning_sequence = _known("SE", "IR", "GR", "EP", "RM")
_sequence_variant = _known("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP")


def _complex_part(image: Instance) -> str | None:
    """Return the part of the complex signal (PS3.3 C.8.13.3.1.1), in full or as classic images abbreviate it."""
    parts = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
    return next((part for part in parts if {part, part[0]} & set(image.image_type[2:])), None)


def _inversion_time(image: Instance) -> float | None:
    """Return 0 for an image without inversion; None if inversion recovery does not state its time."""
    return image.ti_ms if image.ti_ms or "IR" in image.scanning_sequence else 0.0


#: Images that differ in one of these are never in one series.
KINDS = (
    Trait("v", lambda image: image.study_uid or None),
    Trait("m", lambda image: image.modality),
    Trait("n", lambda image: image.series_number or None),
    Trait("c", lambda image: image.contrast_agent),
    Trait("e", _of_mr(lambda image: image.te_ms), near=True),
    Trait("a", _of_mr(lambda image: _scanning_sequence(image.scanning_sequence))),
    Trait("a", _of_mr(lambda image: _sequence_variant(image.sequence_variant))),
    Trait("a", _of_mr(lambda image: image.tr_ms), near=True),
    Trait("a", _of_mr(_inversion_time), near=True),
    Trait("a", _of_mr(lambda image: image.flip_angle_deg), near=True),
    Trait("i", _of_mr(_complex_part)),
    Trait("k", lambda image: image.kernel or None),
    Trait("a", _of_mr(lambda image: "FS" in image.scan_options), words=True),
    # the third value says what the image shows; those after it are the vendor's (PS3.3 C.7.6.1.1.2), and GE writes ADD
    # only into the slices at the base that it adds from thinner ones
    Trait("i", lambda image: image.image_type[2:3] or None, words=True),
    Trait("d", lambda image: image.description.upper() or None, words=True),
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


def group(instances: Iterable[Instance], key: Callable[[Instance], tuple[str, str]]) -> list[Series]:
    """Group images into series of one kind, as the module describes.

    Args:
        instances: Images in any order; copies of an image count once.
        key: Function that returns the patient and the series name of an image.

    Returns:
        The series, sorted by patient and name. The names of parts end in a letter and a number for each trait that
        parts them: -v1 (study), -m1 (modality), -n1 (series number), -d1 (description), -c1 (contrast agent), -e1
        (echo), -a1 (another trait of the acquisition), -k1 (kernel), -i1 (image type), -s1 (scan).
    """
    folders: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for instance in instances:
        folders[key(instance)].append(instance)
    return [
        _series(patient, part)
        for (patient, name), members in sorted(folders.items(), key=lambda item: item[0])
        for part in _parts(Part(name, find_places(_without_copies(members))))
    ]


def _parts(whole: Part) -> list[Part]:
    parts = [whole]
    for trait in KINDS:
        parts = [part for one in parts for part in _split(one, trait.letter, _labels(one, trait))]
    parts = [part for one in map(_with_b_values, parts) for part in _split(one, "a", _labels(one, _B_VALUE))]
    for trait in VARIANTS:
        parts = [part for one in parts for part in _split_repeated(one, trait)]
    return [part for one in parts for part in _split(one, "s", number_scans(one))]


def _series(patient: str, part: Part) -> Series:
    members, notes = leave_out_unclear(part)
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


# --- traits ---------------------------------------------------------------------------------


def _labels(part: Part, trait: Trait) -> list[Any]:
    """Return the value of each image, near numbers as one value; None where it is not told."""
    values = [trait.value(one.image) for one in part.members]
    if trait.near:
        names = _near_values(values)
        values = [None if value is None else names[value] for value in values]
    return _completed(values, part.places, trait.words)


def _near_values(values: Iterable[float | None]) -> dict[float, float]:
    """Map each number to the least of those to which steps below a tenth lead."""
    names: dict[float, float] = {}
    last = None
    for value in sorted({value for value in values if value is not None}):
        names[value] = value if last is None or value > last * _NEAR else names[last]
        last = value
    return names


def _completed(values: list[Any], places: Sequence[Place], words: bool) -> list[Any]:
    """Give few images that lack a value the only one that is missing at their place.

    A text that few images have counts as no value, and one or two such images never part a series.
    """
    counts = Counter(values)
    few = SCAN_SHARE * len(values)
    unsure = {value for value in counts if value is None or (words and counts[value] <= few)}
    sure = counts.keys() - unsure
    if not 0 < sum(counts[value] for value in unsure) <= few:
        return values
    taken = Counter(zip(values, places, strict=True))
    claims = Counter(place for place, value in zip(places, values, strict=True) if value in unsure)
    result = list(values)
    for n, (place, value) in enumerate(zip(places, values, strict=True)):
        vacant = [other for other in sure if not taken[other, place]]
        by_chance = words and counts[value] <= _CHANCE and len(sure) == 1
        if value in unsure and (by_chance or (len(vacant) == 1 and claims[place] == 1)):
            result[n] = next(iter(sure)) if by_chance else vacant[0]
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
