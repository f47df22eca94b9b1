"""Several scans of one place in one series, told apart: without and with contrast agent, or a repeated scan."""

from collections import Counter, defaultdict
from collections.abc import Sequence

Place = tuple[float, ...] | None

# fewer repeated slices than this share are duplicates of single slices, no scan of their own
SCAN_SHARE = 0.25
# one place imaged so often is a series in time, which has its own rule
TIME_POINTS = 4
# scans without own acquisition numbers must each repeat so much of the first one's places
_WHOLE_SHARE = 0.75


def scan_numbers(places: Sequence[Place], acquisitions: Sequence[int]) -> list[int]:
    """The scan (from 0) of each image, given its position and acquisition number, in the order of images.

    By AcquisitionNumber where it parts the images into scans that visit each place once. It need not: GE
    counts it up with every rotation of the gantry. Then the n-th image of a place belongs to scan n, if the scans
    cover the same places. All 0 for one scan, for a series in time, and for what cannot be told apart.
    """
    rounded = [None if place is None else tuple(round(value, 2) for value in place) for place in places]
    visits = Counter(rounded)
    times = max(visits.values(), default=0)
    one = [0] * len(places)
    repeats = len(rounded) - len(visits)
    if None in visits or len(visits) < 2 or times >= TIME_POINTS or repeats <= SCAN_SHARE * len(rounded):
        return one
    by_number = _rank(list(acquisitions))
    if len(set(by_number)) == times and len(set(zip(rounded, by_number, strict=True))) == len(rounded):
        return by_number
    by_turn = _turns(rounded, acquisitions)
    sizes = [by_turn.count(turn) for turn in range(times)]
    return by_turn if min(sizes) >= _WHOLE_SHARE * max(sizes) else one


def _rank(values: list[int]) -> list[int]:
    order = sorted(set(values))
    return [order.index(value) for value in values]


def _turns(places: Sequence[Place], acquisitions: Sequence[int]) -> list[int]:
    """How often an image's place was visited before it, by acquisition number, then in the order given."""
    visits: dict[Place, int] = defaultdict(int)
    turns = [0] * len(places)
    for n in sorted(range(len(places)), key=lambda n: (acquisitions[n], n)):
        turns[n] = visits[places[n]]
        visits[places[n]] += 1
    return turns
