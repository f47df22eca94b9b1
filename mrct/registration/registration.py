"""Rigid registration of a CT and an MR volume of one head by Mattes mutual information.

Convention: matrices are 4x4, LPS mm; `moving_to_fixed` maps a point of the moving volume to the fixed one's.
Everything is deterministic: fixed seeds, one ITK thread for the sums.
"""

import numpy as np

from mrct.registration.head import Head, RegistrationError
from mrct.registration.refinement import refine
from mrct.registration.search import search

MIN_SLICES = 4  # fewer do not tell a rotation from a tilt


def register_rigid(fixed: Head, moving: Head) -> np.ndarray:
    """moving_to_fixed, 4x4: searched from the heads' centroids, then refined without preferring either."""
    for head, name in ((fixed, "fixed"), (moving, "moving")):
        slices = head.image.GetSize()[2]
        if slices < MIN_SLICES:
            raise RegistrationError(
                f"the {name} volume has {slices} slices, rigid registration needs {MIN_SLICES} or more; "
                "set register.method to none if the source is registered already"
            )
    return np.linalg.inv(refine(fixed, moving, search(fixed, moving)))
