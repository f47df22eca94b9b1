"""Search the outputs, and whole project folders, for the patients' own header values.

The scanner reads the identifying values of a source (names, ids, dates, addresses, UIDs) and searches for them in all
usual spellings. It uses no list of names. Values are kept in memory only: a result holds a file, an attribute and a
count, never a value.

What other packages use:

- `output_sweep.find_leak` searches a file that this program has just written. Its callers raise
  `output_sweep.LeakError`.
- `project_sweep.sweep_project` searches files of any kind, names and git history. The command `mrct sweep` calls it.
- `phi_values.PhiValues` holds the values of a patient. `value_sources` reads them from DICOM, volumes and tables.
- `evidence.build_index` prepares the values of several patients for the search in files that are not DICOM.
- `vocabulary.clean` removes all words from a text that may identify somebody. `vocabulary.allows` tests one word.
"""
