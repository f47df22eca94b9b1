"""Application of a trained model to the volume of a new patient.

Use `model.load_model` for a `Model`, and `synthesize.synthesize` to translate a DICOM series or a volume file with it.
`model` imports nothing of DICOM, so that the stage evaluate does not depend on it.
"""
