"""train: scCycleGAN, both directions.  data/normalized -> models/sc_cyclegan

Trains on the training pairs, chooses each direction's epoch by the validation patients, never sees a test
patient. A killed run goes on from its last epoch: checkpoints lie in .work/sc_cyclegan-<fingerprint>-<code>, a folder
DVC does not know (it empties a stage's outs before it runs), so another λ or other code can never resume this run.
Several processes train one model: torchrun --nproc-per-node 2 -m stages.train, then dvc commit -f train.
"""

from pathlib import Path
from typing import Any

from mrct.core.errors import NotFoundError
from mrct.core.fingerprints import file_hash
from mrct.core.params import Section, load
from mrct.core.runner import run_stage
from mrct.methods import sc_cyclegan
from mrct.training.run import Plan, Watching, train_and_write
from mrct.training.settings import Settings

METHOD = "sc_cyclegan"


class Params(Section):
    """The method's parameters and the loop's, all top-level keys of params.yaml."""

    method: sc_cyclegan.Params
    settings: Settings
    watching: Watching = Watching(example_every=0)

    def logged(self) -> dict[str, Any]:
        """What the weights depend on, flat as in params.yaml, so that MLflow and DVC show the same names.

        The file of VGG16's weights is named by its SHA-256: its path says nothing and is this machine's.
        """
        method = self.method.model_dump(mode="json")
        vgg16 = self.method.structure and self.method.structure_loss == "sc_map"
        if vgg16 and self.method.structure_features == "vgg16":
            method["vgg16_weights"] = _require_file(Path(self.method.vgg16_weights))
        else:
            method["vgg16_weights"] = ""
        return method | self.settings.model_dump(mode="json")


def run(params: Params, source: Path, out: Path, work_root: Path) -> None:
    """Train both directions at once, then write weights, history and model.json."""
    plan = Plan(METHOD, sc_cyclegan, params.method, params.settings, params.logged(), params.watching)
    train_and_write(plan, source, out, work_root)


def _require_file(file: Path) -> str:
    """Its SHA-256; FileNotFoundError before any work is done."""
    if not file.is_file():
        raise NotFoundError(f"vgg16_weights: {file}: no such file; name the file of VGG16's weights")
    return file_hash(file)


def main() -> None:
    """Run the stage on the project's folders."""
    params = Params(method=load(sc_cyclegan.Params), settings=load(Settings), watching=load(Watching))
    run(params, Path("data/normalized"), Path("models") / METHOD, Path(".work"))


if __name__ == "__main__":
    run_stage("stages.train")
