"""All hiding places, and which image or patient has which."""

from virtual_hospital.hiding import file_format, pixels, private, sequences, spellings
from virtual_hospital.hiding.other_files import OTHER_FILES, OtherFile
from virtual_hospital.hiding.place import Place, attribute_places

#: Places of which each header has all.
EVERY_HEADER = attribute_places("all")
#: Places of which each image has one, in turn.
IN_TURN = (
    *attribute_places("some"),
    *spellings.PLACES,
    *sequences.PLACES,
    *private.PLACES,
    *spellings.CHARACTER_SET_PLACES,
    *file_format.PART_PLACES,
    *pixels.PLACES,
    *file_format.TRANSFER_SYNTAX_PLACES,
)
# Each patient starts so many places further. A wanted pair has more images, so that the wanted images of 18 patients
# together have every place
_STEP = 41
# One patient in so many has the same other files
_PATIENTS_PER_FILE = 6


def place_of_image(n: int, index: int) -> Place:
    """Return the place in turn of image `index` (from 0) of patient n."""
    return IN_TURN[(n * _STEP + index) % len(IN_TURN)]


def files_of_patient(n: int) -> tuple[OtherFile, ...]:
    """Return the files beside the images of patient n."""
    return OTHER_FILES[n % _PATIENTS_PER_FILE :: _PATIENTS_PER_FILE]
