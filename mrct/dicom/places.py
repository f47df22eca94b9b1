"""The place of each image of a folder: the plane that it shows, whatever its field of view."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mrct.dicom.series import Instance

#: The plane of an image: (direction, level), both numbered within a folder; None without geometry.
Place = tuple[int, int] | None

# half of the last digit of positions with one decimal
_SAME_PLACE_MM = 0.05
# direction cosines are written with as few as three decimals
_SAME_DIRECTION = 0.01


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
    def images(self) -> list[Instance]:
        return [one.image for one in self.members]

    @property
    def places(self) -> list[Place]:
        return [one.place for one in self.members]


def find_places(images: Sequence[Instance]) -> tuple[Placed, ...]:
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
