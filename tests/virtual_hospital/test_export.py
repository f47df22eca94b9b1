"""The folders of the export: no file overwrites that of another patient, although names repeat."""

from types import SimpleNamespace

import numpy as np

from virtual_hospital.export import instance_path
from virtual_hospital.persona import draw_persona


def test_no_two_of_87_patients_share_a_folder_although_names_repeat():
    folders = set()
    for n in range(87):
        acquisition = SimpleNamespace(
            persona=draw_persona(n, np.random.default_rng(n)),
            series=SimpleNamespace(description="T2", modality="MR"),
            n=n,
            number=1,
            date="20240101",
        )
        folders.add(instance_path(acquisition, 1, f"1.2.{n}").parts[0])
    assert len(folders) == 87
