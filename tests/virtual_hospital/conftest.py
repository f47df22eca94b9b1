"""The template, a head made from it, and a phantom of one tissue."""

from pathlib import Path

import numpy as np
import pytest

from virtual_hospital.anatomy import ORIGIN_INDEX, Build, Head, draw_build, make_head
from virtual_hospital.template import Template, make_template, read_labels
from virtual_hospital.tissues import Tissue

LABELS = Path(__file__).parents[2] / "data/sample/colin27/labels.nii.gz"
PLAIN = Build((1.0, 1.0, 1.0), 0.0, 0.0, 3.0, 1.8, False, None)


@pytest.fixture(scope="session")
def template() -> Template:
    return make_template(read_labels(LABELS))


@pytest.fixture(scope="session")
def head(template) -> Head:
    rng = np.random.default_rng(4)
    return make_head(template, draw_build(rng), rng)


@pytest.fixture(scope="session")
def water_ball(template) -> Head:
    """Make a ball of CSF without texture, with a radius of 60 mm, around the origin."""
    shape = template.labels.shape
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    k0, j0, i0 = ORIGIN_INDEX
    ball = (k - k0) ** 2 + (j - j0) ** 2 + (i - i0) ** 2 <= 60**2
    return Head(np.where(ball, Tissue.CSF, 0).astype(np.uint8), np.zeros(shape, np.float32), PLAIN)
