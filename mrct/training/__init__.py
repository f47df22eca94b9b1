"""Training of a method on normalized pairs: deterministic, resumable, with weights chosen on validation patients.

- `method`: `TrainedMethod` and `FittedMethod`, the interface of a method.
- `configuration.load_configuration`: a method with its parameters from params.yaml.
- `run.train`: the whole training of a method, from data/normalized to models/<method>.
- `dataset.open_normalized`: the data; `model_file`: weights on disk.
"""
