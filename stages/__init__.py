"""The stages of dvc.yaml, one module each, in this order: cohort, anonymize, select, register, pair, normalize,
configure, train, evaluate, report. The first line of each module says what it reads and what it writes.
"""
