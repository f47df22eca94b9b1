"""DICOM files of CT and MR: finding, reading, grouping into series, building volumes, writing.

What other packages use:

- `mrct.dicom.read`: `find_files` lists the files of a folder, `read_dataset` reads one of them.
- `mrct.dicom.series`: `read_instances` reads the headers of a file's images; a `Series` holds images of one kind.
- `mrct.dicom.grouping`: `group` groups images into `Series`.
- `mrct.dicom.volume`: `build_volume` builds one SimpleITK volume from a `Series`.
- `mrct.dicom.write`: `write_synthetic_series` writes a volume as a DICOM series, `save_dataset` writes one dataset.
- `mrct.dicom.errors`: `Unreadable` for a file that cannot be used, `GeometryError` for a series that forms no volume.
- `mrct.dicom.uids`: the SOP classes that are read, and the identifiers of this program.

Points are (x, y, z) in mm in the patient's coordinate system (LPS), arrays are (k, j, i) = (D, H, W).
"""
