"""Difficult exports of real hospitals: traps 1 to 27, one group of tests each, by number and behavior.

The whole stage runs on tiny exports; details are tested in the packages' own tests.
"""

import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.pixels.decoders import JPEG2000LosslessDecoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from helpers.phi_factory import person_dataset, save, secrets_in
from mrct.deid.pseudonyms import KeyRefusedError, Pseudonyms, demonstration
from stages.anonymize import Params, Source, choose_pseudonyms, run

KEYS = demonstration()
PATIENT = KEYS.patient("MRN-774411")


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("MRCT_WORKERS", "1")


class Export:
    """A source folder under construction, and the stage run over it."""

    def __init__(self, root: Path) -> None:
        self.raw, self.out, self.work = root / "raw", root / "out", root / "work"
        self.raw.mkdir()

    def add(self, name: str, modality: str = "CT", instance: int = 1, size: int = 16, **changes) -> Path:
        return save(person_dataset(modality, instance, size, **changes), self.raw / name)

    def run(self, mapping: Pseudonyms = KEYS, **params) -> pd.DataFrame:
        """Run the stage; return the verdicts in the order of the sorted listing."""
        chosen = {"key_file": "unused", "max_shift_days": 365, "retain_age_and_sex": False} | params
        run(
            Params(**chosen),
            Source(source=str(self.raw), source_layout="dicom"),
            self.out,
            self.work,
            mapping,
        )
        return pd.read_csv(self.out / "audit" / "files.csv", keep_default_na=False)

    def images(self) -> list[Dataset]:
        """Return the kept images, in the order of their source files."""
        table = pd.read_csv(self.out / "audit" / "files.csv", keep_default_na=False)
        return [pydicom.dcmread(self.out / path) for path in table.output if path]

    def content(self) -> bytes:
        """Return all output bytes and all output names."""
        paths = sorted(self.out.rglob("*"))
        return b"\n".join(
            str(path.relative_to(self.out)).encode() + b"\n" + (path.read_bytes() if path.is_file() else b"")
            for path in paths
        )

    def tree(self) -> dict[str, bytes]:
        files = (path for path in self.out.rglob("*") if path.is_file())
        return {str(path.relative_to(self.out)): path.read_bytes() for path in files}


@pytest.fixture
def export(tmp_path) -> Export:
    return Export(tmp_path)


def only(table: pd.DataFrame, action: str) -> str:
    """Return the reason of the one file with this action; all others must be kept."""
    assert sorted(table.action.tolist()) == sorted(["kept"] * (len(table) - 1) + [action])
    return str(table[table.action == action].reason.iloc[0])


def test_trap_01_names_in_free_text_go_and_known_words_stay(export):
    keywords = (
        *("SeriesDescription", "ProtocolName", "StudyDescription", "ImageComments", "DerivationDescription"),
        *("WindowCenterWidthExplanation", "ContrastBolusAgent", "AcquisitionDeviceProcessingDescription"),
    )
    texts = dict.fromkeys(keywords, "AX T2 Quenneville")
    export.add("a", "MR", ScanOptions=["FS", "QUENNEVILLE"], ReceiveCoilName="ZEBULON HEAD", **texts)
    export.add("b", "CT", ConvolutionKernel="H31s Hollyoak", FilterType="BRUNNHILDE")
    export.run()
    assert secrets_in(export.content()) == []
    mr, ct = export.images()
    assert (mr.SeriesDescription, ct.ConvolutionKernel) == ("AX T2", "H31s")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO_IR 192"], "Wang^XiaoDong=王^小东東="),
        (["GB18030"], "Wang^XiaoDong=王^小东東="),
        (["ISO_IR 144"], "Люксембург"),
        (["ISO_IR 100"], "Äneas^Rüdiger"),
        (["ISO_IR 166"], "ธนพร^สมชาย"),
    ],
)
def test_trap_02_names_in_other_character_sets_are_decoded_cleaned_and_swept(export, charset, name):
    path = export.add(
        "a", SpecificCharacterSet=charset, PatientName=name, SeriesDescription=f"AX T2 {name.split('=')[-1]}"
    )
    raw = pydicom.dcmread(path).PatientName.original_string.split(b"=")[-1]
    assert raw in path.read_bytes()
    export.run()
    content = export.content()
    parts = [part for group in name.split("=") for part in group.split("^") if len(part) > 1]
    for part in parts:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert part.encode(encoding) not in content
    assert not raw or raw not in content
    assert export.images()[0].SeriesDescription == "AX T2"


@pytest.mark.parametrize("depth", [3, 12])
def test_trap_03_what_lies_deep_in_sequences_is_cleaned_or_dropped(export, depth):
    item = Dataset()
    item.PatientName, item.ReferencedSOPInstanceUID = "Quenneville^Zebulon", "1.2.3.774411.5"
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedSOPInstanceUID = "1.2.3.774411.5"
        outer.ReferencedImageSequence = Sequence([item])
        item = outer
    export.add("a", ReferencedImageSequence=Sequence([item]))
    export.run()
    assert secrets_in(export.content()) == []
    reference = export.images()[0].ReferencedImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == KEYS.uid("1.2.3.774411.5")


def test_trap_04_private_elements_go_with_or_without_a_creator_at_any_depth(export):
    image = person_dataset()
    item = image.SourceImageSequence[0]
    item.private_block(0x0009, "Quenneville", create=True).add_new(1, "UN", b"Zebulon ")
    image.add_new(0x00330042, "UN", b"orphan Zebulon")
    save(image, export.raw / "a")
    export.run()
    assert secrets_in(export.content()) == []
    private = [element.tag for element in export.images()[0].iterall() if element.tag.is_private]
    assert private == []


def test_trap_05_unknown_tags_go_and_a_known_tag_stored_as_unknown_is_treated_by_its_tag(export):
    image = person_dataset(SeriesDescription=None, PatientName=None)
    image.add_new(tag_for_keyword("SeriesDescription"), "UN", b"AX T2 Quenneville ")
    image.add_new(tag_for_keyword("PatientName"), "UN", b"Quenneville^Zebulon ")
    image.add_new(0x00281FFE, "UN", b"Quenneville ")
    save(image, export.raw / "a")
    export.run()
    assert secrets_in(export.content()) == []
    result = export.images()[0]
    assert (result.SeriesDescription, result.PatientName) == ("AX T2", PATIENT)
    assert 0x00281FFE not in result


def test_trap_06_file_meta_are_made_anew_and_the_preamble_is_zero(export):
    image = person_dataset()
    image.file_meta.PrivateInformationCreatorUID = "1.2.3.774411"
    image.file_meta.PrivateInformation = b"Quenneville "
    image.file_meta.SendingApplicationEntityTitle = "HOLLYOAK"
    content = save(image, export.raw / "a").read_bytes()
    assert len(secrets_in(content[:600])) > 2
    export.run()
    written = next((export.out / "images").rglob("*.dcm")).read_bytes()
    assert written[:132] == bytes(128) + b"DICM"
    assert secrets_in(written) == []


def test_trap_07_names_of_files_and_folders_reach_no_output_no_message_and_no_error(export, capfd):
    export.add("Quenneville Zebulon 19571103/MRN-774411 (1).dcm")
    (export.raw / "Zebulon.txt").write_text("nothing")
    export.run()
    assert secrets_in(export.content() + "".join(capfd.readouterr()).encode()) == []
    next(export.raw.rglob("*.dcm")).unlink()
    with pytest.raises(ValueError, match="none of its 1 files") as error:
        export.run()
    assert secrets_in(str(error.value).encode()) == []


def test_trap_08_overlay_curve_icon_original_attributes_and_signatures_go(export):
    image = person_dataset()
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.BitsAllocated = 8
    icon.ImageComments, icon.PixelData = "Quenneville", b"Quenneville     "
    image.IconImageSequence = Sequence([icon])
    image.DigitalSignaturesSequence = Sequence([icon])
    image.EncryptedAttributesSequence = Sequence([icon])
    image.add_new(0x50003000, "OW", b"Quenneville ")
    image.add_new(0x50000022, "LO", "Quenneville")
    image.add_new(0x60000022, "LO", "Quenneville")
    save(image, export.raw / "a")
    export.run()
    assert secrets_in(export.content()) == []
    groups = {element.tag.group for element in export.images()[0]}
    assert not groups & {0x5000, 0x6000, 0x0400, 0x0088, 0xFFFA}


@pytest.mark.parametrize(
    "kind",
    [
        *(BasicTextSRStorage, EncapsulatedPDFStorage, GrayscaleSoftcopyPresentationStateStorage),
        *(SecondaryCaptureImageStorage, XRayRadiationDoseSRStorage, RTStructureSetStorage, "1.2.3.774411"),
    ],
)
def test_trap_09_what_is_no_ct_or_mr_image_is_rejected_by_its_kind(export, kind):
    export.add("a")
    export.add("b", SOPClassUID=kind, SOPInstanceUID="1.9")
    reason = only(export.run(), "rejected")
    assert reason.startswith("not a CT or MR image: ")
    assert secrets_in(reason.encode()) == []
    assert ("unknown kind" in reason) == (kind == "1.2.3.774411")


@pytest.mark.parametrize("in_dataset", [True, False])
def test_trap_10_a_media_directory_is_never_copied(export, in_dataset):
    export.add("a")
    image = person_dataset(SOPClassUID=MediaStorageDirectoryStorage if in_dataset else None)
    image.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    save(image, export.raw / "DICOMDIR")
    assert "DICOMDIR" in only(export.run(), "rejected")


@pytest.mark.parametrize(
    ("burned", "kind", "action"),
    [
        ("YES", "ORIGINAL", "quarantined"),
        ("yes ", "ORIGINAL", "quarantined"),
        (None, "DERIVED", "quarantined"),
        ("", "derived ", "quarantined"),
        ("NO", "DERIVED", "kept"),
        (None, "ORIGINAL", "kept"),
    ],
)
def test_trap_11_burned_in_text_said_or_possible_is_quarantined(export, burned, kind, action):
    changes = {} if burned is None else {"BurnedInAnnotation": burned}
    export.add("a")
    export.add("b", instance=2, ImageType=[kind, "PRIMARY", "AXIAL"], **changes)
    table = export.run()
    assert table.action.tolist() == ["kept", action]
    assert ("BurnedInAnnotation" in table.reason[1]) == (action == "quarantined")


@pytest.mark.parametrize(
    ("age", "kept"), [("091Y", "090Y"), ("120Y", "090Y"), ("999M", "999M"), ("089Y", "089Y")]
)
def test_trap_12_ages_over_89_become_90_where_ages_are_asked_for(export, age, kept):
    export.add("a", PatientAge=age)
    export.run(retain_age_and_sex=True)
    assert export.images()[0].PatientAge == kept


@pytest.mark.parametrize(
    "text", ["202002", "2020", "20201345", "20190229", "Feb 2020", "00000000", "2020-02-29"]
)
def test_trap_13_partial_and_impossible_dates_are_emptied_and_counted(export, text):
    export.add("a", StudyDate=text)
    export.run()
    assert not export.images()[0].StudyDate
    table = pd.read_csv(export.out / "audit" / "attributes.csv", keep_default_na=False)
    row = table[table.keyword == "StudyDate"]
    assert row.action.tolist() == ["emptied"]


def test_trap_14_dates_move_on_the_calendar_by_one_shift_for_ct_and_mr_of_a_patient(export):
    zoned = "20200229233000.5+0900"
    export.add("a", "CT", StudyDate="20200228", AcquisitionDateTime=zoned)
    export.add("b", "MR", StudyDate="20200301", AcquisitionDateTime=zoned)
    export.run()
    ct, mr = export.images()
    days = [date.fromisoformat(image.StudyDate) for image in (ct, mr)]
    assert (days[1] - days[0]).days == 2  # over the 29th of February
    assert (days[0] - date(2020, 2, 28)).days == KEYS.shift_days("MRN-774411", 365)
    assert ct.AcquisitionDateTime == mr.AcquisitionDateTime
    assert (date.fromisoformat(ct.AcquisitionDateTime) - days[0]).days == 1


def test_trap_15_uids_are_remapped_with_their_references_and_in_the_file_meta(export):
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        CTImageStorage,
        "1.2.3.774411.1.19571103.1",
    )
    export.add("a", "CT")  # its instance UID holds the date of birth
    export.add("b", "MR", ReferencedImageSequence=Sequence([reference]))
    export.run()
    ct, mr = export.images()
    assert mr.ReferencedImageSequence[0].ReferencedSOPInstanceUID == ct.SOPInstanceUID
    assert ct.file_meta.MediaStorageSOPInstanceUID == ct.SOPInstanceUID
    assert mr.ReferencedImageSequence[0].ReferencedSOPClassUID == CTImageStorage
    for image in (ct, mr):
        uids = [element.value for element in image if element.VR == "UI" and element.keyword != "SOPClassUID"]
        assert all(uid.startswith("2.25.") for uid in uids)
    assert b"19571103" not in export.content()


def test_trap_16_the_same_key_gives_the_same_mapping_and_bytes_from_other_places_and_names(export, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    again = Export(tmp_path / "elsewhere")
    for instance in (1, 2, 3):
        export.add(f"{instance}", instance=instance)
        again.add(f"other/{9 - instance}", instance=instance)
        os.utime(again.raw / f"other/{9 - instance}", (0, 0))
    export.run()
    again.run()
    ours, theirs = export.tree(), again.tree()
    assert {name: content for name, content in ours.items() if name.endswith(".dcm")} == {
        name: content for name, content in theirs.items() if name.endswith(".dcm")
    }


@pytest.mark.parametrize("other", ["mrn-774411", "0MRN-774411", "MRN774411"])
def test_trap_17_two_ids_of_one_person_are_joined_by_the_table_alone(export, other):
    export.add("a", "CT", PatientID=" MRN-774411 ")  # padding is not part of an id
    export.add("b", "MR", PatientID=other)
    export.run()
    assert {image.PatientID for image in export.images()} == {PATIENT, KEYS.patient(other)}
    (export.raw / "same.csv").write_text(f"patient_id,same_as\n{other},MRN-774411\n")
    table = export.run(same_person="same.csv")
    assert only(table, "skipped") == "the table of same persons"
    ct, mr = export.images()
    assert ct.PatientID == mr.PatientID == PATIENT
    days = [date.fromisoformat(image.StudyDate) for image in (ct, mr)]
    assert (days[1] - days[0]).days == 5


@pytest.mark.parametrize(
    "change",
    [{"PatientName": "Someone^Else"}, {"PatientBirthDate": "19600101"}, {"PatientName": "Quenneville^Zoe"}],
)
def test_trap_18_two_people_under_one_id_stop_with_all_their_files_and_nobody_else(export, change):
    export.add("a")
    export.add("b", instance=2, **change)
    export.add("c", instance=3, PatientID="MRN-774412")
    table = export.run()
    assert table.action.tolist() == ["rejected", "rejected", "kept"]
    assert table.reason[:2].str.contains("two different persons").all()


@pytest.mark.parametrize(("how", "study_date"), [("MODIFIED", "20200229"), ("REMOVED", "")])
def test_trap_19_dates_that_were_moved_already_are_not_moved_again(export, how, study_date):
    export.add("a", PatientIdentityRemoved="YES", LongitudinalTemporalInformationModified=how)
    export.run()
    image = export.images()[0]
    # dates that another tool declares as removed are removed, even if some are still there
    assert image.StudyDate == study_date
    assert image.LongitudinalTemporalInformationModified == how
    assert (image.PatientID, secrets_in(export.content())) == (PATIENT, [])


def test_trap_20_an_earlier_output_is_replaced_whole_and_one_inside_the_input_refused(export):
    export.add("a")
    export.run()
    first = export.tree()
    (export.out / "images" / "stale.dcm").write_bytes(b"of an earlier run")
    export.run()
    assert export.tree() == first
    for out in (export.raw, export.raw / "out", export.raw.parent):
        export.out = out
        with pytest.raises(ValueError, match="inside one another"):
            export.run()
    assert (export.raw / "a").exists()


def test_trap_21_the_key_lies_apart_and_a_lost_one_is_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MRCT_KEY", raising=False)
    place = tmp_path / "config" / "key"
    source = Source(source=str(tmp_path / "raw"), source_layout="dicom")
    params = Params(key_file=str(place), max_shift_days=365, retain_age_and_sex=False)
    first = choose_pseudonyms(params, source)
    assert "without it, the same patients get other pseudonyms" in " ".join(capsys.readouterr().err.split())
    assert choose_pseudonyms(params, source) == first
    assert capsys.readouterr().err == ""
    place.unlink()
    assert choose_pseudonyms(params, source) != first
    assert str(place) in capsys.readouterr().err
    place.write_text("short")
    with pytest.raises(KeyRefusedError, match="if the key was lost"):
        choose_pseudonyms(params, source)
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    for refused in (tmp_path / "raw" / "key", tmp_path / "repository" / "key", Path.cwd() / "data" / "key"):
        with pytest.raises(KeyRefusedError, match="inside"):
            choose_pseudonyms(params.model_copy(update={"key_file": str(refused)}), source)


def test_trap_21_another_key_than_last_time_is_said(export, tmp_path, capsys):
    export.add("a")
    source = Source(source=str(export.raw), source_layout="dicom")
    params = Params(key_file="unused", max_shift_days=365, retain_age_and_sex=False)
    said = []
    for key in (b"a" * 32, b"a" * 32, b"b" * 32, b"b" * 32):
        run(params, source, tmp_path / "out", tmp_path / "work", Pseudonyms(key))
        said.append("not the key of the last run" in capsys.readouterr().err)
    assert said == [False, False, True, False]


def test_trap_22_files_without_the_prefix_are_tried_and_their_class_checked(export):
    content = export.add("a").read_bytes()
    export.add("a", instance=2)
    (export.raw / "b").write_bytes(content[content.index(b"\x08\x00\x05\x00") :])
    (export.raw / "c").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" * 30)
    table = export.run()
    assert table.action.tolist() == ["kept", "kept", "skipped"]
    assert "not DICOM" in table.reason[2]


@pytest.mark.parametrize("cut", [1, 2, 300, 512])
def test_trap_23_truncated_pixels_are_quarantined_and_the_run_goes_on(export, cut):
    export.add("a")
    path = export.add("b", instance=2)
    path.write_bytes(path.read_bytes()[:-cut])
    assert "truncated" in only(export.run(), "quarantined")


def test_trap_24_a_missing_codec_is_named_with_the_package_to_install(export, monkeypatch):
    export.add("a")
    image = person_dataset("CT", 2, 32)
    image.compress(JPEG2000Lossless)
    save(image, export.raw / "b")
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    reason = only(export.run(), "quarantined")
    assert "JPEG 2000" in reason
    assert "install pylibjpeg" in reason


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_trap_25_equal_copies_are_one_image_however_compressed(export, syntax):
    export.add("a")
    image = person_dataset()
    if syntax:
        image.compress(syntax, generate_instance_uid=False)
    save(image, export.raw / "b")
    assert only(export.run(), "duplicate") == "the same image as file 0"


def test_trap_25_one_uid_with_other_pixels_stops_both(export):
    export.add("a")
    export.add("b", PixelData=np.zeros(256, "<u2").tobytes())
    export.add("c", instance=2)
    table = export.run()
    assert table.action.tolist() == ["rejected", "rejected", "kept"]
    assert table.reason[:2].str.contains("other pixels").all()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04" * 100), "not DICOM"),
        (lambda path: path.write_bytes(b"\0\0\0\1Bud1" + bytes(6000)), "not DICOM"),
        (lambda path: path.write_text("Quenneville called"), "not DICOM"),
        (Path.touch, "0 bytes"),
        (lambda path: path.symlink_to(path.parent / "gone"), "broken link"),
        (lambda path: path.symlink_to(path.parent), "link to a folder"),
        (os.mkfifo, "not a regular file"),
    ],
    ids=["zip", "DS_Store", "text", "zero_bytes", "broken_link", "folder_link", "pipe"],
)
def test_trap_26_what_is_no_image_file_is_skipped_and_counted(export, make, reason):
    export.add("a")
    make(export.raw / "b")
    assert reason in only(export.run(), "skipped")


def test_trap_26_what_may_not_be_read_is_skipped_and_counted(export, monkeypatch):
    export.add("a")
    locked, honest = export.add("b", instance=2), Path.open

    def refuse(path, *rest, **options):
        if path == locked:
            raise PermissionError(f"{path}: denied")
        return honest(path, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)  # permissions do not restrict root, which runs many tests
    assert "permissions" in only(export.run(), "skipped")


@pytest.mark.parametrize("inside", [None, "empty/folders/only"])
def test_trap_27_an_empty_source_is_an_error_that_says_what_it_should_hold(export, inside):
    if inside:
        (export.raw / inside).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="should hold DICOM files") as error:
        export.run()
    assert str(export.raw) in str(error.value)
    assert not export.out.exists()
