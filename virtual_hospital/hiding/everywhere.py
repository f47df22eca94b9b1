"""All kinds of hiding place in images, and which of them an image gets."""

from virtual_hospital.hiding import encodings, file_parts, nesting, pictures, private, scripts, spellings
from virtual_hospital.hiding.place import Place, attribute_places

EVERY_HEADER = attribute_places("all")
IN_TURN = (
    *attribute_places("some"),
    *spellings.PLACES,
    *nesting.PLACES,
    *private.PLACES,
    *scripts.PLACES,
    *file_parts.PLACES,
    *pictures.PLACES,
    *encodings.PLACES,
)
# fewer than the images of a wanted pair, so that 18 patients' wanted images together have every kind
_STEP = 41


def place_of_turn(n: int, index: int) -> Place:
    """The one place, beside those of every header, of image `index` (from 0) of patient n."""
    return IN_TURN[(n * _STEP + index) % len(IN_TURN)]
