"""The table of same persons: chains end, invalid rows are refused by their number, and ids are never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.deid.pseudonyms import Pseudonyms, SamePersonError, SamePersons, read_same_persons


def table(folder, text):
    path = folder / "same.csv"
    path.write_bytes(text.encode())
    return path


def test_chains_end_at_one_id_and_padding_does_not_count(tmp_path):
    path = table(tmp_path, "\ufeffpatient_id,same_as\r\n A1 ,B2\r\n\r\nB2,C3 \r\nD4,C3\r\nD4,C3\r\n")
    assert read_same_persons(path).joined == {"A1": "C3", "B2": "C3", "D4": "C3"}


def test_one_id_twice_confirms_a_person_and_joins_nothing(tmp_path):
    persons = read_same_persons(table(tmp_path, "patient_id,same_as\nA1,A1 \nA1,B2\nC3,C3\n"))
    assert persons == SamePersons({"A1": "B2"}, frozenset({"A1", "C3"}))
    assert "A1" not in repr(persons)


def test_joined_ids_share_pseudonym_and_shift_and_others_keep_theirs():
    joined = Pseudonyms(b"k" * 32, SamePersons({"A1": "C3"}))
    alone = Pseudonyms(b"k" * 32)
    assert joined.patient("A1 ") == joined.patient("C3") == alone.patient("C3")
    assert joined.shift_days("A1", 365) == alone.shift_days("C3", 365)
    assert joined.patient("B2") == alone.patient("B2")
    assert "C3" not in repr(joined)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Zeb1,Zeb2\n", "row 1: expected the columns"),
        ("patient_id,same_as,Zebulon\nZeb1,Zeb2,x\n", "row 1: .* got 3, 1 of them unknown"),
        ("", "row 1: .* got 0"),
        ("patient_id,same_as\nZeb1,Zeb2\nZeb1,Zeb3\n", "row 3: .* another id in row 2"),
        ("patient_id,same_as\nx,Zeb1\nZeb1,Zeb2\nZeb2,Zeb1\n", "rows 3, 4: the ids lead back"),
        ("patient_id,same_as\nZeb1, \n", "row 2: expected two ids"),
        ("patient_id,same_as\nZeb1\n", "row 2: expected two ids"),
        ("patient_id,same_as\nx,y\nZeb1,Zeb2,Zeb3\n", "row 3: expected two ids"),
    ],
)
def test_a_row_without_a_single_meaning_is_refused_by_its_number(tmp_path, text, message):
    with pytest.raises(SamePersonError, match=message) as error:
        read_same_persons(table(tmp_path, text))
    assert "zeb" not in str(error.value).lower()


def test_other_encodings_are_refused(tmp_path):
    path = tmp_path / "same.csv"
    path.write_bytes("patient_id,same_as\nMüller,x\n".encode("latin-1"))
    with pytest.raises(SamePersonError, match="UTF-8"):
        read_same_persons(path)


def test_the_table_lies_inside_the_source(tmp_path):
    table(tmp_path, "")
    (tmp_path / "raw").mkdir()
    with pytest.raises(SamePersonError, match="not inside"):
        Pseudonyms(b"").joined(tmp_path / "raw", "../same.csv")
    with pytest.raises(SamePersonError, match="holds no file"):
        Pseudonyms(b"").joined(tmp_path / "raw", "same.csv")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_every_chain_of_a_forest_ends_where_following_it_by_hand_ends(tmp_path_factory, parents):
    """Person n is joined to an earlier person or to nobody (no row), so that there is no cycle."""
    targets = {n: parent % n for n, parent in enumerate(parents) if n and parent % n != n}
    text = "patient_id,same_as\n" + "".join(f"p{n},p{target}\n" for n, target in targets.items())
    joined = read_same_persons(table(tmp_path_factory.mktemp("forest"), text)).joined
    for n in targets:
        root = n
        while root in targets:
            root = targets[root]
        assert joined[f"p{n}"] == f"p{root}"
