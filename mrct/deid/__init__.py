"""De-identification of an export, after DICOM PS3.15 annex E.

Use from other packages and stages:

- `mrct.deid.export.anonymize_export`: a folder of DICOM files as de-identified, searched and audited images.
- `mrct.deid.volumes.anonymize_volumes`: the same for volumes in the folder layouts of SynthRAD2023 and RIRE.
- `mrct.deid.deidentify.deidentify` and `Options`: one dataset.
- `mrct.deid.pseudonyms.Pseudonyms`, `demonstration`, `from_secret`: the keyed mapping of identities.

`attributes.csv` lists the attributes that may stay, `profile.csv` what the standard demands of them.
"""
