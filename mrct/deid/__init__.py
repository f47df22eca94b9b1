"""De-identification of an export, following DICOM PS3.15 annex E.

What other packages use:

- `mrct.deid.export.anonymize_export` writes the images of a DICOM export de-identified, searched and audited.
- `mrct.deid.volumes.anonymize_volumes` does the same for volumes in the folder layouts of SynthRAD2023 and RIRE.
- `mrct.deid.deidentify.deidentify` de-identifies one dataset; `Options` holds the user's choices.
- `mrct.deid.pseudonyms.Pseudonyms` is the keyed mapping of identities; `demonstration` and `from_secret` make it.

`attributes.csv` lists the attributes that may be kept, `profile.csv` the action that the standard demands for each.
"""
