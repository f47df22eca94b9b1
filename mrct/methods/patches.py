"""What methods that work on cubes of a volume have in common: how the cubes are taken and put together again."""

from abc import abstractmethod

from pydantic import Field, field_validator

from mrct.core.errors import DataError
from mrct.core.params import Section
from mrct.methods.batch import Direction, Directions
from mrct.networks.sliding_window import Window


class PatchParams(Section):
    """Cubes a training volume gives an epoch, the slices' spacing, the overlap of cubes in a translated volume.

    `validate_every`: epochs between validations on whole volumes, which take longer than training; the last epoch is
    always validated, and the best one is chosen among those that were. `directions`: MR to CT, as both papers.
    """

    directions: Directions
    patches_per_volume: int = Field(ge=1)
    resample_slices_mm: float = Field(gt=0)
    overlap: float = Field(ge=0, lt=1)
    validate_every: int = Field(ge=1)

    @property
    @abstractmethod
    def window(self) -> Window:
        """The cubes that a network of these parameters sees and makes."""

    @field_validator("directions")
    @classmethod
    def _of_the_papers(cls, directions: tuple[Direction, ...]) -> tuple[Direction, ...]:
        if directions != ("mr_to_ct",):
            raise DataError("the 3D methods make CT from MR alone; unet, pix2pix and scCycleGAN also make MR")
        return directions
