"""Defacing: the plane that separates the face from the brain, found in the CT and used for the MR as well.

The method follows Quickshear (Schimke and Hale, "Quickshear defacing for neuroimages", USENIX HealthSec 2011): a plane
touches the convex hull of the brain's sagittal silhouette at a distance, and everything on its other side is removed,
air included. Departures:

- The brain is the intracranial cavity, from the geometry of the CT, so that CSF and any lesion count as brain.
- The silhouette is seen along the normal of the head's own plane of symmetry, not along the x axis of the image.
- Quickshear takes the edge of the hull below the frontmost voxel, which depends on a single voxel and on the slice
  spacing. Here all planes that touch the hull from the front and below are candidates, and the one that cuts off most
  of the face is used.
- The distance is in mm along the normal of the plane, beyond the corners of the outermost voxels.

Conventions: points (x, y, z) in mm, LPS; arrays (k, j, i).
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.optimize import minimize

from mrct.core.contracts import AIR_HU
from mrct.core.errors import DataError
from mrct.imaging import volumes
from mrct.registration.alignment import AlignedPair

WORK_SPACING_MM = 2.0
# brain, CSF, fresh blood; not fat (eye sockets), air or bone
BRAIN_HU = (-30.0, 130.0)
# a gap in the skull narrower than twice this does not connect the cavity with the outside
OPENING_MM = 8.0
# from a quarter of a brain, which is more than a tongue, to a wide hydrocephalus
CAVITY_ML = (300.0, 3000.0)
# the silhouette of a cavity of less height is unusable
MIN_HEIGHT_MM = 30.0
# share of the cavity's surroundings; without a skull the cavity would be all soft tissue
MIN_BONE_SHARE = 0.5
# registration error, and the part of the cavity that the opening misses
MARGIN_MM = 3.0
# share of the cavity's length; voxels farther back do not count as face
FRONT_SHARE = 1.0 / 3.0
# between the normal of the plane and the front, flattest plane first; about 60 in a level head, and heads nod by 20
ANGLES_DEG = np.arange(85.0, 34.0, -1.0)
# how far a head may be turned and inclined
START_DEG = (-20.0, -10.0, 0.0, 10.0, 20.0)
# degrees, degrees, mm from the middle of the cavity
BOUNDS = ((-40.0, 40.0), (-40.0, 40.0), (-30.0, 30.0))
# degrees and mm
SIMPLEX = 4.0
# longer distances come from the asymmetry of the head rather than from an error of the plane
ASYMMETRY_MM = 3.0
SURFACE_POINTS = 4000
NEXT = "look at the volume in data/selected, or leave the patient out"


class DefaceError(DataError):
    """Error for a CT in which the face cannot be separated from the brain."""


@dataclass(frozen=True)
class Plane:
    """Plane with the face on one side: normal @ p > offset_mm for its points p in mm; `normal` (3,) has length 1."""

    normal: np.ndarray
    offset_mm: float

    def moved(self, matrix: np.ndarray) -> "Plane":
        """Move the plane by a rigid 4x4 matrix."""
        normal = matrix[:3, :3] @ self.normal
        return Plane(normal, self.offset_mm + float(normal @ matrix[:3, 3]))

    def face_side(self, grid: sitk.Image) -> np.ndarray:
        """Mark the voxels of `grid` whose center lies on the face's side; (D, H, W) bool."""
        steps, first = volumes.affine(grid)[:3, :3], volumes.affine(grid)[:3, 3]
        i, j, k = (self.normal @ steps[:, axis] * np.arange(grid.GetSize()[axis]) for axis in range(3))
        return k[:, None, None] + j[:, None] + i > self.offset_mm - self.normal @ first


def face_plane(ct: sitk.Image, head: sitk.Image) -> Plane:
    """Find the plane between face and brain in a CT.

    Args:
        ct: The CT in HU.
        head: uint8 mask of the head, on any grid in the space of the CT.

    Returns:
        The plane, in the space of the CT.

    Raises:
        DefaceError: The CT does not show a brain in a skull.
    """
    small = volumes.coarsened(ct, WORK_SPACING_MM)
    hu = volumes.to_array(small)
    cavity = intracranial_cavity(hu, volumes.spacing_kji_mm(small))
    _require_brain(cavity, hu, small)
    in_head = volumes.to_array(volumes.resample_onto(head, small, np.eye(4), 0.0, nearest=True)) > 0
    left = symmetry_normal(volumes.like(cavity, small))
    return _touching_plane(_points_mm(cavity, small), _points_mm(in_head, small), left, small)


def remove_face(aligned: AlignedPair, plane: Plane) -> tuple[AlignedPair, float]:
    """Put air on the face's side of a plane: -1024 HU in the CT, 0 in the MR; masks and coverage end at the plane.

    Args:
        aligned: The pair.
        plane: The plane in the space of the pair's grid.

    Returns:
        The pair without the face, and the percentage of the head that was removed.
    """
    gone = plane.face_side(aligned.grid)
    defaced = replace(
        aligned,
        ct=np.where(gone, AIR_HU, aligned.ct),
        mr=np.where(gone, 0.0, aligned.mr),
        mask=aligned.mask & ~gone,
        coverage=aligned.coverage & ~gone,
        ct_head=aligned.ct_head & ~gone,
        mr_head=aligned.mr_head & ~gone,
    )
    removed, whole = (int(np.count_nonzero(mask)) for mask in (aligned.mask & gone, aligned.mask))
    return defaced, 100.0 * removed / max(1, whole)


def intracranial_cavity(hu: np.ndarray, spacing_kji_mm: tuple[float, float, float]) -> np.ndarray:
    """Find the largest piece of brain-like tissue after an opening with OPENING_MM.

    All gaps of an intact skull are narrower than the opening, except the foramen magnum, which leads into the narrow
    spinal canal. A surgical gap leads into the scalp, which is thinner than the opening. The edge of the volume
    counts as open.

    Args:
        hu: (D, H, W), HU.
        spacing_kji_mm: Voxel spacing in the order of the array's axes.

    Returns:
        (D, H, W) bool.
    """
    soft = (hu > BRAIN_HU[0]) & (hu < BRAIN_HU[1])
    deep = ndimage.distance_transform_edt(soft, sampling=spacing_kji_mm) > OPENING_MM
    pieces, count = ndimage.label(deep)
    if count == 0:
        return np.zeros_like(soft)
    largest = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    return soft & (ndimage.distance_transform_edt(~largest, sampling=spacing_kji_mm) <= OPENING_MM)


def symmetry_normal(mask: sitk.Image) -> np.ndarray:
    """Find the unit vector (3,) to the head's left: the normal of the plane in which the mask mirrors itself best.

    The two angles of the plane and its place minimize the mean distance from the mirrored surface to the surface. The
    distance is smooth at zero and linear when large, so that lesions and oblique slices weigh little.
    """
    inside = volumes.to_array(mask) > 0
    surface = inside & ~ndimage.binary_erosion(inside, border_value=1)
    distance_mm = ndimage.distance_transform_edt(~surface, sampling=volumes.spacing_kji_mm(mask))
    to_index = np.linalg.inv(volumes.affine(mask))
    points = _points_mm(surface, mask)
    points = points[:: max(1, len(points) // SURFACE_POINTS)]
    middle = points.mean(axis=0)

    def misfit_mm(plane: np.ndarray) -> float:
        normal = _left(plane[:2])
        mirrored = points - 2.0 * ((points - middle) @ normal - plane[2])[:, None] * normal
        index = volumes.transform_points(to_index, mirrored).T[::-1]
        away_mm = ndimage.map_coordinates(distance_mm, index, order=1, mode="nearest")
        return float(np.hypot(away_mm, ASYMMETRY_MM).mean())

    start = min((np.array([*angles, 0.0]) for angles in product(START_DEG, repeat=2)), key=misfit_mm)
    simplex = start + np.vstack([np.zeros(3), SIMPLEX * np.eye(3)])
    fit = minimize(
        misfit_mm, start, method="Nelder-Mead", bounds=BOUNDS, options={"initial_simplex": simplex}
    )
    return _left(fit.x[:2])


def _left(angles: np.ndarray) -> np.ndarray:
    """Return the unit vector at (turn, inclination) in degrees from the x axis of the image."""
    turn, inclination = np.radians(angles)
    return np.array(
        [np.cos(turn) * np.cos(inclination), np.sin(turn) * np.cos(inclination), np.sin(inclination)]
    )


def _points_mm(mask: np.ndarray, grid: sitk.Image) -> np.ndarray:
    """Return the places (n, 3) of a mask's voxels, LPS mm."""
    return volumes.transform_points(volumes.affine(grid), np.argwhere(mask)[:, ::-1].astype(float))


def _require_brain(cavity: np.ndarray, hu: np.ndarray, grid: sitk.Image) -> None:
    """Raise DefaceError unless the cavity is large, high enough for a silhouette, and surrounded by bone."""
    volume_ml = np.count_nonzero(cavity) * volumes.voxel_volume_mm3(grid) / 1000.0
    height_mm = np.count_nonzero(cavity.any(axis=(1, 2))) * grid.GetSpacing()[2]
    if not CAVITY_ML[0] <= volume_ml <= CAVITY_ML[1] or height_mm < MIN_HEIGHT_MM:
        raise DefaceError(
            f"defacing: {volume_ml:.0f} ml of brain over {height_mm:.0f} mm found in the CT, wanted "
            f"{CAVITY_ML[0]:g} to {CAVITY_ML[1]:g} ml over at least {MIN_HEIGHT_MM:g} mm to tell where the face "
            f"begins; {NEXT}"
        )
    bone_share = float((hu[ndimage.binary_dilation(cavity) & ~cavity] >= BRAIN_HU[1]).mean())
    if bone_share < MIN_BONE_SHARE:
        raise DefaceError(
            f"defacing: bone makes {bone_share:.0%} of what surrounds the brain in the CT, wanted at least "
            f"{MIN_BONE_SHARE:.0%}: no HU, or a skull with too large a gap; {NEXT}"
        )


def _touching_plane(cavity_mm: np.ndarray, head_mm: np.ndarray, left: np.ndarray, grid: sitk.Image) -> Plane:
    """Choose the plane touching the cavity that cuts off most of the face; among equals, the flattest.

    The face is the head below the frontal pole, from the front third of the cavity onwards. Each voxel counts by its
    depth behind the plane, so that nose and chin decide.
    """
    front = np.array([0.0, -1.0, 0.0]) + left[1] * left
    front /= np.linalg.norm(front)
    up = np.cross(front, left)
    forward = cavity_mm @ front
    behind = forward.max() - FRONT_SHARE * np.ptp(forward)
    face = head_mm[(head_mm @ front > behind) & (head_mm @ up < cavity_mm[forward.argmax()] @ up)]
    angles = np.radians(ANGLES_DEG)[:, None]
    normals = np.cos(angles) * front - np.sin(angles) * up
    half_voxel_mm = np.abs(normals @ volumes.affine(grid)[:3, :3]).sum(axis=1) / 2.0
    offsets = (normals @ cavity_mm.T).max(axis=1) + half_voxel_mm + MARGIN_MM
    removed = [np.maximum(face @ n - d, 0.0).sum() for n, d in zip(normals, offsets, strict=True)]
    best = int(np.argmax(removed))
    return Plane(normals[best], float(offsets[best]))
