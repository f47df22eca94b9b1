"""A virtual hospital: invented patients, their CT and MR images, and a messy DICOM export of them.

The package imports nothing from `mrct`. It is described in docs/explanation/virtual-hospital.md.

What other packages use:

- `virtual_hospital.export`: `Hospital` and `export_patient` write one patient and return the truth about the patient.
- `virtual_hospital.template`: `read_labels` and `make_template` prepare the head from which all patients are made.
- `virtual_hospital.selection_score`: `score_selection` compares a selection of series with the truth.
"""
