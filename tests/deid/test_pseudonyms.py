"""Pseudonyms are keyed, stable and distinct; the key comes from an allowed place only."""

import hashlib
import hmac
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, CTImageStorage

from mrct.deid.pseudonyms import (
    DEMONSTRATION_KEY,
    KEY_VARIABLE,
    KeyRefusedError,
    Pseudonyms,
    demonstration,
    from_secret,
)

SECRET = "0123456789abcdef" * 4


def test_patients_are_the_hmac_of_rfc_2104_in_sha256():
    expected = hmac.new(SECRET.encode(), b"patient\0MRN1", hashlib.sha256).hexdigest()[:10]
    assert Pseudonyms(SECRET.encode()).patient("MRN1") == f"P{expected}"


def test_the_published_mapping_is_the_same_for_ever():
    mapping = demonstration()
    assert mapping.patient("123") == "P271aebd5db"
    assert mapping.uid("1.2.3") == "2.25.318068274433760216115199385766050075940"
    assert mapping.shift_days("123", 365) == -82


def test_padding_does_not_make_another_patient_but_case_and_zeros_do():
    mapping = demonstration()
    assert mapping.patient(" 17\0") == mapping.patient("17")
    assert len({mapping.patient(text) for text in ("17", "017", "x17", "X17")}) == 4


@given(st.text("0123456789.", min_size=1, max_size=64))
def test_every_uid_becomes_a_valid_one_that_holds_nothing_of_it(uid):
    mapped = demonstration().uid(f"1.9.{uid}")
    assert UID(mapped).is_valid
    assert mapped.startswith("2.25.")
    assert mapped == demonstration().uid(f"1.9.{uid} ")


def test_uids_of_the_standard_stay_and_lookalikes_do_not():
    assert demonstration().uid(CTImageStorage) == CTImageStorage
    assert demonstration().uid(f"{CTImageStorage}.19571103").startswith("2.25.")
    assert demonstration().uid("") == ""


@given(st.text(min_size=1, max_size=20), st.integers(1, 1000))
def test_shifts_are_bounded_never_zero_and_shared_by_all_files_of_a_patient(patient, max_days):
    shift = demonstration().shift_days(patient, max_days)
    assert 1 <= abs(shift) <= max_days
    assert shift == demonstration().shift_days(f"{patient} ", max_days)


def test_shifts_reach_both_ends():
    shifts = {demonstration().shift_days(str(n), 2) for n in range(200)}
    assert shifts == {-2, -1, 1, 2}


def test_another_key_gives_other_names_and_the_key_is_not_shown():
    assert Pseudonyms(SECRET.encode()).patient("1") != demonstration().patient("1")
    assert SECRET not in repr(Pseudonyms(SECRET.encode()))


def test_the_variable_wins_and_no_file_is_made(tmp_path):
    secret = from_secret(tmp_path / "key", (), {KEY_VARIABLE: SECRET})
    assert secret.pseudonyms.key == SECRET.encode()
    assert not secret.is_new
    assert not (tmp_path / "key").exists()


def test_a_key_is_made_once_for_the_owner_alone_and_found_again(tmp_path):
    file = tmp_path / "config" / "key"
    first, again = from_secret(file, (), {}), from_secret(file, (), {})
    assert first.pseudonyms.key == again.pseudonyms.key
    assert (first.is_new, again.is_new) == (True, False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first.pseudonyms.key) == 64


@pytest.mark.parametrize("text", [DEMONSTRATION_KEY, "short", ""])
def test_published_and_weak_keys_are_refused_without_showing_them(tmp_path, text):
    with pytest.raises(KeyRefusedError) as error:
        from_secret(tmp_path / "key", (), {KEY_VARIABLE: text})
    assert not text or text not in str(error.value)


def test_a_key_inside_the_data_or_a_git_repository_is_refused(tmp_path):
    data, repository = tmp_path / "data", tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    with pytest.raises(KeyRefusedError, match="inside"):
        from_secret(data / "key", (data,), {})
    with pytest.raises(KeyRefusedError, match="git"):
        from_secret(repository / "deep" / "key", (), {})


def test_a_key_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "key"
    file.write_text(SECRET)
    file.chmod(0o644)
    with pytest.raises(KeyRefusedError, match="chmod 600"):
        from_secret(file, (), {})
