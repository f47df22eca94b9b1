"""Infrastructure that all stages share.

- `params`: `Section` and `load`, strict parameters from params.yaml.
- `contracts`: every table that passes between the stages; `tables`: how tables are checked, written and read.
- `errors`: `MrctError`, the base of all errors that a user may see.
- `files`: `output_folder` and `atomic_file`, outputs that appear whole or not at all.
- `resume`: `map_resumable`, work that a restarted run continues; `fingerprints`: `code_fingerprint`, a stage's code.
- `parallel`: `map_processes`, on this machine or on a cluster; `runner`: `run_stage`, how a stage starts and ends.
"""
