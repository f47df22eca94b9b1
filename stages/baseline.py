"""baseline: a system to compare with, named on the command line.  data/normalized -> models/<method>

Each name in `baselines` is a module of mrct/methods and a section of params.yaml. The reference methods `mean_ct`
and `intensity_map` are fitted on the training slices in one pass. The others are trained as scCycleGAN is: the best
epoch by the validation patients, a killed run goes on from its last epoch in .work/<method>-<fingerprint>-<code>. Their
section holds the method's own keys and the loop's (epochs, batch size ...) side by side. Some are trained in several
phases, one after the other; a phase that needs the brain's mask gets it from the CT.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mrct.core.files import output_folder
from mrct.core.fingerprints import folder_hash, run_fingerprint
from mrct.core.params import PARAMS_FILE, ParamsError, Section, load, load_parts
from mrct.core.runner import run_stage
from mrct.imaging.brain import brain_mask
from mrct.training.dataset import NormalizedData, open_normalized
from mrct.training.run import Plan, Watching, train_and_write, write_model
from mrct.training.settings import AdversarialLoop, Loop, Shared, settings_of


def load_method(name: str) -> Any:
    """The method's module; ParamsError when there is none of that name."""
    if not name.isidentifier() or find_spec(f"mrct.methods.{name}") is None:
        raise ParamsError(f"baselines: no method {name!r}; expected a module of mrct/methods, as mean_ct")
    module = import_module(f"mrct.methods.{name}")
    if not (hasattr(module, "fit") or hasattr(module, "DISCRIMINATORS")):
        raise ParamsError(
            f"baselines: {name!r} is no method to compare with; expected one as mean_ct or unet"
        )
    return module


def load_plan(name: str, module: Any, file: Path = PARAMS_FILE) -> Plan:
    """What params.yaml says of a method that is trained: its section and the keys that all methods share."""
    loop_model = AdversarialLoop if module.DISCRIMINATORS else Loop
    params, loop = load_parts((module.Params, loop_model), name, file)
    shared = load(Shared, path=file)
    logged = {
        key: value for part in (params, loop, shared) for key, value in part.model_dump(mode="json").items()
    }
    watching = load(Watching, path=file)
    return Plan(name, module, params, settings_of(loop, shared), logged, watching, {"brain": brain_volumes})


def brain_volumes(data: NormalizedData) -> dict[str, np.ndarray]:
    """Of each training patient (D, H, W) float32: 1 in the brain, -1 elsewhere."""
    pixel_mm = float(data.manifest["pixel_spacing_mm"])
    volumes = {}
    for patient in data.split("train"):
        slice_mm = float(data.manifest["patients"][patient.name]["slice_spacing_mm"])
        brain = brain_mask(patient.ct_hu, patient.mask > 0, (slice_mm, pixel_mm, pixel_mm))
        volumes[patient.name] = np.where(brain, 1.0, -1.0).astype(np.float32)
    return volumes


def run(name: str, params: Section, source: Path, out: Path) -> None:
    """Fit a reference method on the training pairs and write one model a direction."""
    data = open_normalized(source)
    pairs = ((data.patients[patient], k) for patient, k in data.split_pairs("train"))
    training = ((patient.mr[k], patient.ct[k], patient.mask[k]) for patient, k in pairs)
    fitted = load_method(name).fit(training, params)
    made = {direction: (network.state_dict(), config) for direction, (network, config) in fitted.items()}
    logged, identity = params.model_dump(mode="json"), folder_hash(source)
    facts = {
        "fingerprint": run_fingerprint(name, logged, identity),
        "data_sha256": identity,
        "params": logged,
    }
    with output_folder(out) as folder:
        write_model(folder, name, made, data, facts)


def main() -> None:
    """Run the stage for the method named as the only argument."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m stages.baseline METHOD")
    name = sys.argv[1]
    module, source, out = load_method(name), Path("data/normalized"), Path("models") / name
    if hasattr(module, "fit"):
        run(name, load(module.Params, name), source, out)
    else:
        train_and_write(load_plan(name, module), source, out, Path(".work"))


if __name__ == "__main__":
    run_stage("stages.baseline")
