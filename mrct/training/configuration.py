"""Method with its parameters from params.yaml, as the stage `configure` writes it and `train` runs it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrct.core.params import PARAMS_FILE, Section, load_parts
from mrct.training.method import Method, TrainedMethod
from mrct.training.settings import Settings, Shared


@dataclass(frozen=True)
class Configuration:
    """Method with its parameters; `settings` of the loop is None for a method that is fitted in one pass.

    `keys` are all of these parameters, flat, named as in params.yaml.
    """

    name: str
    method: type[Method]
    params: Section
    settings: Settings | None
    keys: dict[str, Any]

    @property
    def provenance(self) -> dict[str, Any]:
        """Return what the weights depend on besides code and data, as MLflow and model.json show it."""
        return self.keys | self.method.provenance(self.params)


def load_configuration(name: str, method: type[Method], file: Path = PARAMS_FILE) -> Configuration:
    """Read the parameters of a method: its own keys, those of its loop, and those that all methods share.

    Raises:
        ParamsError: A key is missing, unknown or has a wrong value.
    """
    section = None if method.top_level else name
    if not issubclass(method, TrainedMethod):
        (params,) = load_parts((method.Params,), section, file)
        return Configuration(name, method, params, None, params.model_dump(mode="json"))
    params, loop = load_parts((method.Params, method.Loop), section, file)
    (shared,) = load_parts((Shared,), None, file)
    keys = {
        key: value for part in (params, loop, shared) for key, value in part.model_dump(mode="json").items()
    }
    settings = Settings(**{"pool_size": 0} | loop.model_dump() | shared.model_dump())
    return Configuration(name, method, params, settings, keys)
