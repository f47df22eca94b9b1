"""The survey: chunks partition the candidates, and mixed identities are excluded."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mrct.core.contracts import FileAction
from mrct.deid.pseudonyms import Pseudonyms, SamePersons
from mrct.deid.survey import (
    Entry,
    chunk_size,
    chunked,
    exclude_mixed_patients,
    exclude_shared_instances,
    plan_chunks,
)
from mrct.dicom.identity import Person

ALONE = Pseudonyms(b"k" * 32)

owned = st.tuples(st.integers(0, 3), st.integers(0, 400), st.booleans())


def entries_of(rows):
    return [
        Entry(
            index,
            Path(str(index)),
            None if candidate else FileAction.SKIPPED,
            "",
            f"p{who}",
            sop_uid=f"1.{who}.{uid}",
        )
        for index, (who, uid, candidate) in enumerate(rows)
    ]


@given(st.lists(owned, max_size=1200))
def test_each_candidate_is_in_one_chunk_of_one_person_beside_all_its_copies(rows):
    entries = entries_of(rows)
    chunks = plan_chunks(entries, ALONE)
    planned = [entry.index for chunk in chunks for entry in chunk]
    assert sorted(planned) == [entry.index for entry in entries if entry.action is None]
    size, places = chunk_size(len(planned)), Counter()
    for chunk in chunks:
        assert len({entry.patient_id for entry in chunk}) == 1
        places.update({entry.sop_uid for entry in chunk})
        assert len(chunk) <= max(size, Counter(e.sop_uid for e in chunk).most_common(1)[0][1])
    assert set(places.values()) <= {1}


def test_one_patient_of_many_files_is_spread_over_many_chunks():
    for n_files, size in ((40, 16), (6400, 100), (20_000, 256), (100_000, 256)):
        entries = [Entry(n, Path("x"), patient_id="p", sop_uid=f"1.{n}") for n in range(n_files)]
        lengths = [len(chunk) for chunk in plan_chunks(entries, ALONE)]
        assert lengths == [len(chunk) for chunk in chunked(entries)]
        assert set(lengths[:-1]) == {size}
        assert sum(lengths) == n_files


def test_an_instance_of_two_persons_is_excluded_unless_they_are_joined():
    pair = [
        Entry(0, Path("a"), patient_id="a", sop_uid="1"),
        Entry(1, Path("b"), patient_id="b", sop_uid="1"),
    ]
    alone = Entry(2, Path("c"), patient_id="b", sop_uid="2")
    verdicts = exclude_shared_instances([*pair, alone], ALONE)
    assert [entry.action for entry in verdicts] == ["rejected", "rejected", None]
    assert "two PatientIDs" in verdicts[0].reason
    assert exclude_shared_instances(pair, Pseudonyms(b"k" * 32, SamePersons({"b": "a"}))) == pair


def test_a_file_that_is_excluded_already_still_tells_whose_the_instance_is():
    other = Entry(0, Path("a"), FileAction.QUARANTINED, "burned", patient_id="a", sop_uid="1")
    mine = Entry(1, Path("b"), patient_id="b", sop_uid="1")
    verdicts = exclude_shared_instances([other, mine], ALONE)
    assert [(entry.action, entry.reason == "burned") for entry in verdicts] == [
        ("quarantined", True),
        ("rejected", False),
    ]


def test_entries_do_not_show_whose_they_are():
    entry = Entry(
        0,
        Path("Quenneville"),
        patient_id="Quenneville",
        person=Person(birth_date="Quenneville"),
        sop_uid="Quenneville",
    )
    assert "Quenneville" not in repr(entry)
    assert exclude_mixed_patients([entry], ALONE) == [entry]
