"""Search the outputs, and whole project folders, for the patients' own header values.

The scanner knows the values of the source (names, ids, dates, addresses, UIDs) and searches for them in every usual
spelling. It knows nothing about other people and uses no list of names. Values stay in memory: a result names a file,
an attribute and a count, and never a value.

What other packages use:

- `output_sweep.find_leak` searches a file that this program has just written. `output_sweep.LeakError` is raised by
  those who find something.
- `project_sweep.sweep_project` searches files of any kind, names and git history. It is behind `mrct sweep`.
- `phi_values.PhiValues` holds the values of a patient. `value_sources` reads them from DICOM, volumes and tables.
- `evidence.build_index` prepares the values of several patients for the search in files that are not DICOM.
- `vocabulary.clean` and `vocabulary.allows` know the words of headers that identify nobody.
"""
