"""Batches of patches: the same places and motion for all images, whatever the processes; whole volumes as errors."""

import numpy as np
import pytest
import torch

from mrct.networks.sliding_window import Window
from mrct.networks.whole_volume import VolumeNetwork
from mrct.training.dataset import open_normalized
from mrct.training.patches import PatchParams, VolumePatches, predictions
from mrct.training.settings import Augmentation

CPU = torch.device("cpu")
MOVED = Augmentation(rotation_deg=20.0, scale=0.1, shift_mm=0.0, flip=True, mr_gamma=0.0, mr_bias=0.0)


class Small(PatchParams):
    """Cubes of 8 voxels around cubes of 4; three slices of 5 mm become 9 of 1.25 mm."""

    directions: tuple[str, ...] = ("mr_to_ct",)
    patches_per_volume: int = 5
    resample_slices_mm: float = 1.25
    overlap: float = 0.5
    validate_every: int = 2

    @property
    def window(self) -> Window:
        return Window(8, 4, self.overlap)


class Halved(VolumeNetwork):
    """Stand-in for a trained network: the volume times 0.5, or the further image if it is given."""

    def translate_volume(self, volume, slice_spacing_mm, device, others):
        assert slice_spacing_mm == 5.0
        return np.asarray(others.get("context", volume)) * np.float32(0.5)


def examples(folder, augmentation=MOVED, others=None, **changes):
    data = open_normalized(folder)
    return VolumePatches(data, augmentation, Small(**changes), epochs=3, others=others or {})


def drawn(patches, seed=0):
    items = patches.items(0)
    return items, patches.draw(len(items), torch.Generator().manual_seed(seed))


def test_an_epoch_is_so_many_patches_of_each_training_patient(normalized):
    patches = examples(normalized)
    items = patches.items(0)
    assert len(items) == 3 * 5
    assert {name for name, _ in items} == {patient.name for patient in patches.data.split("train")}


def test_all_images_show_the_same_place_and_motion(normalized):
    """With the CT as a further image: its middle is the CT, and the MR's middle maps to it as in the volume."""
    ct = {name: patient.ct for name, patient in open_normalized(normalized).patients.items()}
    patches = examples(normalized, others={"context": ct})
    batch = patches.load(*drawn(patches), CPU)
    assert batch.mr.shape == batch.other["context"].shape == (15, 1, 8, 8, 8)
    assert batch.ct.shape == (15, 1, 4, 4, 4)
    assert torch.allclose(batch.other["context"][..., 2:6, 2:6, 2:6], batch.ct, atol=1e-6)
    assert torch.all((batch.mr.abs() <= 1.0 + 1e-6) & torch.isfinite(batch.mr))
    assert len({round(float(image.mean()), 6) for image in batch.mr}) > 10  # different places


def test_still_patches_of_pairs_follow_the_volumes_own_law(normalized):
    """Without interpolation, CT is a function of MR in these volumes, and also in the loaded patches."""
    still = MOVED.model_copy(update={"rotation_deg": 0.0, "scale": 0.0, "flip": False})
    patches = examples(normalized, augmentation=still, resample_slices_mm=5.0 / 3 * 1.01)
    batch = patches.load(*drawn(patches), CPU)
    mr = batch.mr[..., 2:6, 2:6, 2:6].numpy()
    hu = np.where(mr > -1, 400 * mr**2 + 200 * mr, -1000.0)
    law = (np.clip(hu, -1024, 3000) + 1024) / 4024 * 2 - 1
    exact = np.isclose(law, batch.ct.numpy(), atol=1e-4).mean()
    assert exact > 0.3  # one step in three lies on a slice


def test_a_share_of_a_batch_gets_what_it_gets_in_the_whole(normalized):
    patches = examples(normalized)
    items, draws = drawn(patches)
    whole = patches.load(items, draws, CPU)
    part = patches.load(items[4:9], draws[4:9], CPU)
    assert torch.equal(part.mr, whole.mr[4:9])
    assert torch.equal(part.ct, whole.ct[4:9])
    other = patches.load(items, drawn(patches, seed=1)[1], CPU)
    assert not torch.equal(other.mr, whole.mr)


def test_contrast_is_the_mrs_alone_and_takes_no_other_draws(normalized):
    plain = examples(normalized)
    colored = examples(normalized, MOVED.model_copy(update={"mr_gamma": 0.5, "mr_bias": 0.5}))
    (items, draws), (_, same) = drawn(plain), drawn(colored)
    assert torch.equal(draws, same)
    before, after = plain.load(items, draws, CPU), colored.load(items, draws, CPU)
    assert torch.equal(before.ct, after.ct)
    assert not torch.allclose(before.mr, after.mr, atol=1e-2)
    assert float(after.mr.abs().max()) <= 1.0


def test_the_error_is_that_of_whole_volumes_on_paired_slices_in_the_head(normalized):
    patches = examples(normalized)
    errors = []
    for patient in patches.data.split("validation"):
        inside = (patient.mask > 0) & patient.valid[:, None, None]
        errors.append(np.abs(patient.mr * 0.5 - patient.ct)[inside].mean() * 4024 / 2)
    got = patches.validation({"mr_to_ct": Halved()}, 1, CPU)
    assert got == {"validation_mr_to_ct": pytest.approx(np.mean(errors), rel=1e-5)}
    zeros = {name: np.zeros_like(patient.ct) for name, patient in patches.data.patients.items()}
    known = examples(normalized, others={"context": zeros}).validation({"mr_to_ct": Halved()}, 1, CPU)
    assert known != got


def test_it_is_taken_every_so_many_epochs_and_after_the_last(normalized):
    patches = examples(normalized)  # 3 epochs, every second is validated
    validated = [bool(patches.validation({"mr_to_ct": Halved()}, epoch, CPU)) for epoch in range(6)]
    assert validated == [False, True, True, True, False, True]


def test_a_volume_that_no_patch_fits_is_refused_before_any_work(normalized):
    with pytest.raises(
        ValueError, match=r"P\d+: 2 slices 5 mm apart, resampled to 3, of 32 x 32 pixels; a patch has 4"
    ):
        examples(normalized, resample_slices_mm=2.5)  # the whole volume has 5 steps, two paired slices have 3
    with pytest.raises(ValueError, match=r"P\d+: 3 slices .* resampled to 3,"):
        examples(normalized, resample_slices_mm=5.0)


def test_predictions_are_made_once_and_kept(normalized, tmp_path):
    data = open_normalized(normalized)
    made = predictions(Halved(), data, tmp_path, CPU)
    assert set(made) == {p.name for split in ("train", "validation") for p in data.split(split)}
    for name, volume in made.items():
        assert np.array_equal(volume, data.patients[name].mr * np.float32(0.5))

    class Broken(VolumeNetwork):
        def translate_volume(self, *_):
            raise AssertionError("asked again")

    (tmp_path / f"{min(made)}.npy").unlink()  # killed before the first was written
    with pytest.raises(AssertionError, match="asked again"):
        predictions(Broken(), data, tmp_path, CPU)
    predictions(Halved(), data, tmp_path, CPU)
    assert set(predictions(Broken(), data, tmp_path, CPU)) == set(made)
