"""Places in a DICOM export that can hide PHI: `registry` lists them and says which image or patient has which.

`attributes.csv` lists plain attributes. Each other module has the places of one theme: `spellings`, `sequences`,
`private`, `file_format`, `pixels` and `other_files`.
"""
