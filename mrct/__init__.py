"""MR-CT synthesis of the brain, from hospital DICOM to metrics. The stages of the pipeline are in stages/.

One package per stage holds what only that stage does; the others serve several:

- data: `deid` and `leaks` (anonymize), `selection` (select), `registration` (register), `pairing` (pair),
  `normalization` (normalize);
- learning: `methods` (one module per published system), `training`, `networks`, `losses` (train);
- results: `metrics` (evaluate), `reporting` (report), `inference` (a trained model on new images);
- shared: `core` (parameters, files, tables, errors, resuming), `dicom`, `imaging`, `tracking` (MLflow), `terminal`;
- `cli`: the command `mrct`.
"""

import os

# OpenMP reads this when torch is imported. Its threads then sleep while they wait for each other. By default they keep
# their cores busy, which costs several times the processor time where other programs run.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
