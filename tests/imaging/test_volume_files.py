"""Volume files are read as nibabel and ITK read whole ones, and refused if they are not whole."""

import gzip
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.volume_factory import affine_ras, file, metaimage, nifti, ramp
from mrct.imaging.stored_volume import VolumeError
from mrct.imaging.volume_files import read_volume_file
from mrct.imaging.volumes import affine, from_array, read_volume, to_array

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NAMES = ("v.nii", "v.nii.gz", "raw.mha", "zlib.mha")


def content_of(name, values=None):
    """Return the bytes of a good file of this kind."""
    if name.endswith(".mha"):
        return metaimage(values, compressed=name == "zlib.mha")
    content = nifti(values, sform=affine_ras())
    return gzip.compress(content, mtime=0) if name.endswith(".gz") else content


def refusal(path):
    with pytest.raises(VolumeError) as caught:
        read_volume_file(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_nifti_is_read_as_nibabel_reads_it(tmp_path, suffix, version, order, kind):
    path = file(tmp_path / f"v{suffix}", nifti(ramp(kind=kind), affine_ras(), version=version, order=order))
    image, expected = read_volume_file(path), nib.load(path)
    assert image.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(to_array(image).T, expected.get_fdata().astype(np.float32))
    assert np.allclose(affine(image), RAS_TO_LPS @ expected.affine, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.05, 10)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.sampled_from(["v.nii.gz", "v.nii", "v.mha", "packed.mha", "v.mhd"]),
)
def test_what_itk_writes_comes_back_with_its_voxels_at_their_places(
    tmp_path_factory, angles, spacing, origin, name
):
    matrix = affine_ras(angles)
    matrix[:3, :3] *= np.divide(spacing, np.linalg.norm(matrix[:3, :3], axis=0))
    matrix[:3, 3] = origin
    stored = from_array(ramp((3, 4, 5)).astype(np.int16), matrix)
    path = tmp_path_factory.mktemp("volumes") / name
    sitk.WriteImage(stored, str(path), useCompression=name in ("v.nii.gz", "packed.mha"))
    image = read_volume_file(path)
    assert np.array_equal(to_array(image), to_array(stored))
    far = np.array([4.0, 3.0, 2.0, 1.0])
    assert np.allclose(affine(image) @ far, affine(stored) @ far, atol=2e-3)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(2.0, -1024.0, (-1024, -1022)), (-1.0, 5.0, (5, 4)), (0.0, -1024.0, (0, 1)), (np.nan, np.nan, (0, 1))],
)
def test_the_scaling_of_nifti_is_applied_and_a_slope_of_0_means_as_stored(
    tmp_path, slope, intercept, expected
):
    path = file(tmp_path / "v.nii", nifti(sform=affine_ras(), scl_slope=slope, scl_inter=intercept))
    values = to_array(read_volume_file(path)).ravel()
    stored = ramp().ravel(order="F")
    difference = expected[1] - expected[0]
    assert np.array_equal(values, expected[0] + difference * stored)


@pytest.mark.parametrize(("unit", "mm"), [(1, 1000.0), (2, 1.0), (3, 1e-3), (0, 1.0)])
def test_the_unit_of_nifti_is_heeded(tmp_path, unit, mm):
    path = file(tmp_path / "v.nii", nifti(qform=affine_ras(), xyzt_units=unit + 8))
    assert np.allclose(affine(read_volume_file(path)), np.diag([mm, mm, mm, 1]) @ RAS_TO_LPS @ affine_ras())


def test_extensions_and_further_dimensions_of_size_1_are_skipped(tmp_path):
    content = nifti(ramp((6, 5, 4, 1)), affine_ras(), vox_offset=400)
    path = file(tmp_path / "v.nii", content[:352] + bytes(48) + content[352:])
    assert np.array_equal(to_array(read_volume_file(path)).T, ramp())
    four = metaimage(
        ramp((6, 5, 4, 1)),
        TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
        Offset="1 2 3 0",
        ElementSpacing="0.5 0.75 4 1",
    )
    image = read_volume_file(file(tmp_path / "v.mha", four))
    assert np.array_equal(to_array(image).T, ramp())
    assert image.GetSpacing() == (0.5, 0.75, 4.0)


@pytest.mark.parametrize("name", ["CT.NII", "CT.NII.GZ", "ct.Nii.Gz", "ct.Mha"])
def test_suffixes_in_capitals_are_read(tmp_path, name):
    content = metaimage() if name == "ct.Mha" else nifti(sform=affine_ras())
    assert np.array_equal(to_array(read_volume_file(file(tmp_path / name, content))).T, ramp())


def test_gzip_is_known_by_its_first_bytes(tmp_path):
    content = nifti(sform=affine_ras())
    (tmp_path / "plain.nii.gz").write_bytes(content)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(content[:99]) + gzip.compress(content[99:]))
    for name in ("plain.nii.gz", "packed.nii"):
        assert np.array_equal(to_array(read_volume_file(tmp_path / name)).T, ramp())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_refused_wherever_it_is_cut(tmp_path, name):
    content, path = content_of(name), tmp_path / name
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)
    path.write_bytes(content)
    assert np.array_equal(to_array(read_volume_file(path)).T, ramp())


@pytest.mark.parametrize("name", ["v.nii.gz", "zlib.mha"])
def test_a_flipped_bit_of_compressed_data_never_changes_a_voxel_or_a_place(tmp_path, name):
    content, path = content_of(name), tmp_path / name
    start = 10 if name == "v.nii.gz" else content.index(b"LOCAL\n") + 6
    path.write_bytes(content)
    whole = read_volume_file(path)
    refused = 0
    for position in range(start, len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :]
        )
        try:
            image = read_volume_file(path)
        except VolumeError:
            refused += 1
        else:  # a few bits of deflate have no meaning
            assert np.array_equal(to_array(image), to_array(whole))
            assert np.array_equal(affine(image), affine(whole))
    assert refused > 0.95 * (len(content) - start)


def test_a_large_file_is_refused_where_it_is_cut_beyond_the_buffers_of_readers(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 1000, (128, 128, 100)).astype(np.int16)
    content = gzip.compress(nifti(values, affine_ras()), compresslevel=1)
    assert len(content) > 2_000_000
    for share in (0.5, 0.99, 1):
        (tmp_path / "v.nii.gz").write_bytes(content[: int(len(content) * share) - 1])
        assert "cut off" in refusal(tmp_path / "v.nii.gz")


def shear(matrix, amount):
    sheared = matrix.copy()
    sheared[:3, 1] += amount * matrix[:3, 0]
    return sheared


def moved(matrix, mm):
    shifted = matrix.copy()
    shifted[0, 3] += mm
    return shifted


def scaled(matrix, factor):
    stretched = matrix.copy()
    stretched[:3, 0] *= factor
    return stretched


A = affine_ras()
NAN = float("nan")
WITH_NAN = np.where(ramp(kind="f4") == 7, np.nan, ramp(kind="f4"))
NIFTI_FAULTS = {
    "nan": (nifti(WITH_NAN, A), "1 of 120 voxels"),
    "infinite": (nifti(np.where(ramp(kind="f4") > 117, np.inf, 0).astype("f4"), A), "2 of 120 voxels"),
    "beyond 32 bits": (nifti(ramp(kind="f8") * 1e300, A), "beyond 32 bits"),
    "scaled beyond 32 bits": (nifti(None, A, scl_slope=3e38), "beyond 32 bits"),
    "scaling nan": (nifti(None, A, scl_slope=1, scl_inter=NAN), "scaling"),
    "scaling infinite": (nifti(None, A, scl_slope=np.inf), "scaling"),
    "sheared": (nifti(None, shear(A, 0.3)), "spacings|right angles"),
    "a little sheared": (nifti(None, shear(A, 0.01)), "right angles"),
    "sform sheared, qform not": (nifti(None, shear(A, 0.3), A), "two different places"),
    "sform moved": (nifti(None, moved(A, 5), A), "two different places"),
    "sform stretched": (nifti(None, scaled(A, 2)), "two different places"),
    "sform nan": (nifti(None, moved(A, NAN)), "two different places|usable numbers"),
    "sform singular": (nifti(None, scaled(A, 0)), "two different places"),
    "pixdim 0": (nifti(None, None, A, pixdim=(1, 0, 1, 1)), "usable numbers"),
    "pixdim nan": (nifti(None, None, A, pixdim=(1, NAN, 1, 1)), "two different|usable numbers"),
    "quaternion": (nifti(None, None, A, quatern_b=3), "no rotation"),
    "quaternion nan": (nifti(None, None, A, quatern_b=NAN), "two different|no rotation|usable numbers"),
    "two time points": (nifti(ramp((3, 4, 5, 2)), A), "one scalar 3D volume.*3 x 4 x 5 x 2"),
    "two dimensions": (nifti(ramp((6, 5)), A), "one scalar 3D volume.*6 x 5"),
    "no dimension": (nifti(None, A, dim=(0,)), "one scalar 3D volume"),
    "size 0": (nifti(None, A, dim=(3, 0)), "sizes"),
    "size negative": (nifti(None, A, dim=(3, -6)), "sizes"),
    "size beyond any volume": (nifti(None, A, dim=(3, 32767, 32767, 32767)), "sizes"),
    "more voxels than bytes": (nifti(None, A, dim=(3, 60, 50, 40)), "got 240 of 240000 bytes"),
    "fewer voxels than bytes": (nifti(None, A, dim=(3, 6, 5, 3)), "more bytes than its header states"),
    "wider voxels": (nifti(None, A, datatype=16), "got 240 of 480 bytes"),
    "garbage at the end": (nifti(None, A) + b"x", "more bytes than its header states"),
    "complex": (nifti(ramp(kind="c8"), A), "one value per voxel"),
    "color": (nifti(None, A, datatype=128), "one value per voxel"),
    "unknown type": (nifti(None, A, datatype=3), "header is damaged|no NIfTI"),
    "voxels in the header": (nifti(None, A, vox_offset=0), "vox_offset"),
    "voxels nowhere": (nifti(None, A, vox_offset=NAN), "vox_offset"),
    "pair of files": (nifti(None, A, magic=b"ni1"), "no NIfTI"),
    "Analyze": (nifti(None, A, magic=b""), "no NIfTI"),
    "text": (b"no volume at all", "no NIfTI"),
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("fault", NIFTI_FAULTS)
def test_a_nifti_with_a_fault_is_refused_with_the_reason(tmp_path, suffix, fault):
    content, reason = NIFTI_FAULTS[fault]
    path = file(tmp_path / f"v{suffix}", content)
    with pytest.raises(VolumeError, match=reason):
        read_volume_file(path)


def test_what_agrees_within_the_precision_of_nifti_is_read(tmp_path):
    """Half a turn about an axis in the plane leaves the quaternion's first number to rounding."""
    half_turn = affine_ras((180.0, 0.003, 0.002))
    for content in (
        nifti(None, half_turn, half_turn),
        nifti(None, moved(A, 0.4), A),
        nifti(None, shear(A, 0.0002)),
        nifti(None, A, pixdim=(1, -0.5)),
        nifti(None, None, A, pixdim=(0,)),
    ):
        image = read_volume_file(file(tmp_path / "v.nii", content))
        assert np.array_equal(to_array(image).T, ramp())


def test_a_nifti_without_a_place_lies_along_lps_as_itk_reads_it(tmp_path):
    path = file(tmp_path / "v.nii", nifti())
    assert np.allclose(affine(read_volume_file(path)), affine(sitk.ReadImage(str(path))))


def test_the_checksum_and_the_length_of_gzip_are_read(tmp_path):
    content = content_of("v.nii.gz")
    for position in (-8, -4):
        changed = bytearray(content)
        changed[position] ^= 1
        (tmp_path / "v.nii.gz").write_bytes(changed)
        assert "fail their check" in refusal(tmp_path / "v.nii.gz")
    (tmp_path / "v.nii.gz").write_bytes(content + b"garbage")
    assert "fail their check" in refusal(tmp_path / "v.nii.gz")


def test_a_gzip_that_grows_beyond_its_header_is_refused_early(tmp_path):
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(nifti(None, A)) + gzip.compress(bytes(1 << 24)) + b"never reached")
    assert "more bytes than its header states" in refusal(path)


MHA_FAULTS = {
    "sheared": (metaimage(TransformMatrix="1 0 0 0.1 1 0 0 0 1"), "right angles"),
    "not of unit length": (metaimage(TransformMatrix="2 0 0 0 1 0 0 0 1"), "right angles"),
    "singular": (metaimage(TransformMatrix="1 0 0 1 0 0 0 0 1"), "right angles"),
    "matrix nan": (metaimage(TransformMatrix="nan 0 0 0 1 0 0 0 1"), "usable numbers"),
    "matrix short": (metaimage(TransformMatrix="1 0 0 0 1 0"), "lacks numbers"),
    "spacing missing": (metaimage(ElementSpacing=None), "lacks numbers"),
    "spacing 0": (metaimage(ElementSpacing="1 0 1"), "usable numbers"),
    "spacing negative": (metaimage(ElementSpacing="1 -1 1"), "usable numbers"),
    "spacing text": (metaimage(ElementSpacing="1 a 1"), "no MetaImage"),
    "offset infinite": (metaimage(Offset="inf 0 0"), "usable numbers"),
    "nan": (metaimage(WITH_NAN), "1 of 120 voxels"),
    "nan, compressed": (metaimage(WITH_NAN, compressed=True), "1 of 120 voxels"),
    "fewer voxels than bytes": (metaimage(DimSize="6 5 3"), "more bytes than its header states"),
    "more voxels than bytes": (metaimage(DimSize="6 5 5"), "got 240 of 300 bytes"),
    "fewer, compressed": (metaimage(compressed=True, DimSize="6 5 3"), "more bytes"),
    "more, compressed": (metaimage(compressed=True, DimSize="6 5 5"), "got 240 of 300 bytes"),
    "not compressed at all": (metaimage(CompressedData="True"), "fail their check"),
    "garbage at the end": (metaimage() + b"x", "more bytes than its header states"),
    "garbage, compressed": (metaimage(compressed=True) + b"x", "more bytes than its header states"),
    "size 0": (metaimage(DimSize="6 5 0"), "sizes"),
    "size text": (metaimage(DimSize="6 5 x"), "no MetaImage"),
    "too few sizes": (metaimage(DimSize="6 5"), "no MetaImage"),
    "two dimensions": (
        metaimage(ramp((6, 5)), TransformMatrix="1 0 0 1", Offset="1 2", ElementSpacing="1 1"),
        "one scalar 3D volume",
    ),
    "vectors": (metaimage(ElementNumberOfChannels="3"), "one value per voxel"),
    "unknown type": (metaimage(ElementType="MET_WORD"), "no MetaImage"),
    "text voxels": (metaimage(BinaryData="False"), "as text"),
    "scaled": (metaimage(ElementToIntensityFunctionSlope="2"), "ElementToIntensityFunction"),
    "no end of the header": (b"ObjectType = Image\nNDims = 3\n", "no MetaImage"),
    "several files": (metaimage(ElementDataFile="LIST"), "several files"),
    "numbered files": (metaimage(ElementDataFile="v%03d.raw 1 4 1"), "several files"),
    "another folder": (metaimage(ElementDataFile="../v.raw"), "another folder"),
    "missing file": (metaimage(ElementDataFile="gone.raw"), "missing"),
    "no file": (metaimage(ElementDataFile=""), "missing|no MetaImage|damaged"),
    "NIfTI": (nifti(None, A), "no MetaImage"),
}


@pytest.mark.parametrize("fault", MHA_FAULTS)
def test_a_metaimage_with_a_fault_is_refused_with_the_reason(tmp_path, fault):
    content, reason = MHA_FAULTS[fault]
    with pytest.raises(VolumeError, match=reason):
        read_volume_file(file(tmp_path / "v.mha", content))


@pytest.mark.parametrize("size", [None, "1", "999999"])
def test_a_metaimage_is_whole_without_a_right_compressed_size(tmp_path, size):
    path = file(tmp_path / "v.mha", metaimage(compressed=True, CompressedDataSize=size))
    assert np.array_equal(to_array(read_volume_file(path)).T, ramp())


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({}, ramp().tobytes(order="F")),
        ({"HeaderSize": "7"}, b"ignored" + ramp().tobytes(order="F")),
        ({"HeaderSize": "-1"}, b"ignored" + ramp().tobytes(order="F")),
        ({"CompressedData": "True"}, zlib.compress(ramp().tobytes(order="F"))),
        ({"BinaryDataByteOrderMSB": "True"}, ramp(kind=">i2").tobytes(order="F")),
        ({"ElementSpacing": None, "ElementSize": "1 1 1"}, ramp().tobytes(order="F")),
        ({"TransformMatrix": None, "Offset": None}, ramp().tobytes(order="F")),
    ],
)
def test_voxels_in_a_second_file_are_read_and_counted(tmp_path, fields, data):
    path = file(tmp_path / "v.mhd", metaimage(ElementDataFile="v.raw", **fields))
    (tmp_path / "v.raw").write_bytes(data)
    assert np.array_equal(to_array(read_volume_file(path)).T, ramp())
    (tmp_path / "v.raw").write_bytes(data[:-1])
    if "HeaderSize" not in fields:
        refusal(path)
    (tmp_path / "v.raw").unlink()
    assert "missing" in refusal(path)


def test_lines_may_end_as_on_windows(tmp_path):
    head, voxels = metaimage().split(b"LOCAL\n")
    path = file(tmp_path / "v.mha", head.replace(b"\n", b"\r\n") + b"LOCAL\r\n" + voxels)
    assert np.array_equal(to_array(read_volume_file(path)).T, ramp())


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "link.nii").symlink_to(tmp_path / "gone")
    (tmp_path / "empty.nii").touch()
    assert "broken link" in refusal(tmp_path / "folder.nii")
    assert "broken link" in refusal(tmp_path / "link.nii")
    assert "0 bytes" in refusal(tmp_path / "empty.nii")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["v.nii", "raw.mha"]),
    st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_no_header_raises_another_error(tmp_path_factory, name, changes):
    content = bytearray(content_of(name))
    for position, value in changes:
        content[position] = value
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    try:
        image = read_volume_file(path)
    except VolumeError:
        return
    assert np.isfinite(to_array(image)).all()
    assert np.isfinite(affine(image)).all()


def test_nothing_is_printed_and_no_error_holds_a_folder(tmp_path, capfd):
    """The libraries of C and C++ write to the file descriptors."""
    folder = tmp_path / "Quenneville"
    faults = [(f"v{n}.nii", content) for n, (content, _) in enumerate(NIFTI_FAULTS.values())]
    faults += [(f"v{n}.mha", content) for n, (content, _) in enumerate(MHA_FAULTS.values())]
    faults += [("cut.nii.gz", gzip.compress(nifti(None, A))[:-20]), ("cut.mha", metaimage()[:-20])]
    for name, content in faults:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        with pytest.raises(VolumeError) as caught:
            read_volume(folder / name)
        assert "Quenneville" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
