"""The rules on headers as Siemens, Philips and GE write them; planes by geometry, weighting by times."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrct.dicom.series import Instance, Series
from mrct.dicom.stack import plane
from mrct.selection.acquisition import contrast_agent, kernel_class, turbo_spin_echo, weighting
from mrct.selection.choose import Measured, choose
from mrct.selection.classify import PIXELS, RULES, classify, rejected
from mrct.selection.explain import explain_empty
from mrct.selection.parameters import REJECTABLE, Rules

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
T2_SPIN_ECHO = Instance(
    Path("x"),
    sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
    modality="MR",
    image_type=("ORIGINAL", "PRIMARY", "M"),
    vendor="Siemens",
    orientation=AXIAL,
    pixel_spacing_mm=(1.0, 1.0),
    rows=8,
    columns=8,
    te_ms=100.0,
    tr_ms=4000.0,
    echo_train_length=1,
    scanning_sequence=("SE",),
)
CT = replace(
    T2_SPIN_ECHO,
    modality="CT",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    te_ms=None,
    tr_ms=None,
    echo_train_length=None,
    scanning_sequence=(),
    has_rescale=True,
)


def series(
    first: Instance = T2_SPIN_ECHO, count: int = 5, name: str = "S", patient: str = "P", **changes: object
) -> Series:
    """Make a series of `count` slices 5 mm apart along their normal."""
    one = replace(first, **changes)  # type: ignore[arg-type]
    cosines = np.asarray(one.orientation or AXIAL)
    normal = np.cross(cosines[:3], cosines[3:])
    return Series(
        patient,
        name,
        tuple(
            replace(one, path=Path(str(k)), position=tuple(5.0 * k * normal), instance_number=k)
            for k in range(count)
        ),
    )


def tilted(angle_deg: float) -> tuple[float, ...]:
    angle = np.radians(angle_deg)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))


def rule_of(item: Series, **rules: object) -> str:
    return classify(item, Rules(**rules)).rule  # type: ignore[arg-type]


def test_a_plain_axial_t2_spin_echo_and_a_plain_ct_pass() -> None:
    assert classify(series(), Rules()).matches == ()
    assert classify(series(CT), Rules()).matches == ()


@pytest.mark.parametrize(
    ("te", "tr", "ti", "sequence", "variant", "expected"),
    [
        (100, 4000, None, ("SE",), (), "t2"),
        (98.1, 6285, None, ("SE",), ("SK",), "t2"),  # GE FSE
        (80, 3000, 0, ("SE",), (), "t2"),  # Philips writes TI 0
        (14, 500, None, ("SE",), (), "t1"),
        (2.98, 2300, 900, ("GR", "IR"), ("SP", "MP"), "t1"),  # MPRAGE
        (8, 2000, 860, ("SE", "IR"), ("SK",), "t1"),  # T1 FLAIR
        (4.6, 9.9, None, ("GR",), ("SP",), "t1"),
        (120, 9000, 2500, ("SE", "IR"), ("SK", "SP", "MP"), "flair"),
        (388, 5000, 1800, ("SE", "IR"), (), "flair"),  # 3D FLAIR
        (60, 4000, 160, ("SE", "IR"), (), "stir"),
        (15, 2500, None, ("SE",), (), "pd"),
        (20, 600, None, ("GR",), ("SP",), "t2star"),
        (2.2, 4.5, None, ("GR",), ("SS",), "unknown"),  # balanced steady state
        (90, 4000, None, ("EP",), (), "unknown"),  # it is unknown whether it is a spin echo
        (90, 4000, None, ("EP", "SE"), (), "t2"),
        (90, 4000, None, ("IR", "SE"), (), "unknown"),  # inversion without its time
        (None, 4000, None, ("SE",), (), "unknown"),
        (100, None, None, ("SE",), (), "unknown"),
        (0, 4000, None, ("SE",), (), "unknown"),
        (None, None, 2500, (), (), "unknown"),
    ],
)
def test_weighting_comes_from_the_times(te, tr, ti, sequence, variant, expected) -> None:  # type: ignore[no-untyped-def]
    instance = replace(
        T2_SPIN_ECHO,
        te_ms=te,
        tr_ms=tr,
        ti_ms=ti,
        scanning_sequence=sequence,
        sequence_variant=variant,
        description="AX T2 flair-free",
    )
    assert weighting(instance) == expected


def test_the_name_never_makes_a_class() -> None:
    nameless = series(te_ms=14.0, tr_ms=500.0, description="AX T2 TRA", protocol="T2")
    assert rule_of(nameless) == "t1"
    assert rule_of(series(te_ms=None, tr_ms=None, description="AX T2")) == "weighting"


@pytest.mark.parametrize(
    ("orientation", "name"), [(CORONAL, "coronal"), (SAGITTAL, "sagittal"), (AXIAL, "axial")]
)
def test_the_plane_is_the_orientation_not_the_name(orientation: tuple, name: str) -> None:
    item = series(orientation=orientation, description="AX T2", protocol="AXIAL")
    assert plane(item)[0] == name
    assert rule_of(item) == ("" if name == "axial" else name)


@pytest.mark.parametrize(
    ("angle_deg", "rule"), [(0, ""), (24, ""), (30, ""), (30.1, "oblique"), (60, "coronal")]
)
def test_oblique_beyond_the_limit(angle_deg: float, rule: str) -> None:
    item = series(orientation=tilted(angle_deg))
    assert plane(item)[1] == pytest.approx(angle_deg, abs=0.01)
    assert rule_of(item) == rule
    assert rule_of(item, max_angle_deg=90.0) in ("", "coronal")


@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-180, 180))
def test_the_plane_does_not_depend_on_the_sign_or_turn_of_the_slice(a: float, b: float, turn: float) -> None:
    from scipy.spatial.transform import Rotation

    body = Rotation.from_euler("xy", [a, b], degrees=True)
    spin = body * Rotation.from_euler("z", turn, degrees=True)
    flat = [np.concatenate([r.as_matrix()[:, 0], r.as_matrix()[:, 1]]) for r in (body, spin)]
    normal = np.abs(body.as_matrix()[:, 2])
    planes = [plane(series(orientation=tuple(cosines))) for cosines in flat]
    assert planes[0][1] == pytest.approx(planes[1][1], abs=0.02)
    if np.diff(np.sort(normal))[-1] > 1e-6:  # no tie between two planes
        assert planes[0][0] == planes[1][0] == ("sagittal", "coronal", "axial")[int(normal.argmax())]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "vendor": "Siemens",
            "echo_train_length": 15,
            "sequence_name": "*TSE2D1_15",
            "sequence_variant": ("SK", "SP"),
        },
        {"vendor": "Siemens", "echo_train_length": None, "sequence_name": "*TSE2D1_15"},
        {
            "vendor": "Siemens",
            "echo_train_length": None,
            "sequence_name": "*H2D1_128",
            "description": "T2 HASTE",
        },
        {"vendor": "Siemens", "echo_train_length": None, "sequence_name": "*SPC_282NS"},
        {"vendor": "Philips", "echo_train_length": 16, "protocol": "T2W_TSE SENSE"},
        {"vendor": "Philips", "echo_train_length": None, "protocol": "T2W_TSE SENSE"},
        {"vendor": "GE", "echo_train_length": 16},
        {"vendor": "GE", "echo_train_length": None, "scan_options": ("FAST_GEMS", "FC")},
        {"vendor": "GE", "echo_train_length": None, "description": "AX T2 FRFSE"},
        {"vendor": "GE", "echo_train_length": None, "description": "Sag CUBE T2", "scanning_sequence": ()},
    ],
)
def test_turbo_spin_echo_of_three_vendors(changes: dict) -> None:
    verdict = classify(series(**changes), Rules())
    assert verdict.rule == "tse"
    assert rule_of(series(**changes), reject=tuple(set(REJECTABLE) - {"tse"})) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"echo_train_length": None, "description": "AX T2 SE FALSE", "protocol": "MEASURE HORSE"},
        {"scanning_sequence": ("GR",), "echo_train_length": 240},  # Philips TFE writes its turbo factor
        {"scanning_sequence": ("GR",), "scan_options": ("FAST_GEMS",), "echo_train_length": 1},
    ],
)
def test_no_turbo_spin_echo(changes: dict) -> None:
    assert turbo_spin_echo(replace(T2_SPIN_ECHO, **changes)) == ""


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"ti_ms": 2500.0, "te_ms": 120.0, "description": "T2", "echo_train_length": 20}, "flair"),
        ({"description": "AX DARK-FLUID"}, "flair"),
        ({"te_ms": 15.0, "tr_ms": 2500.0}, "pd"),
        ({"diffusion_b_value": 0.0}, "dwi"),
        ({"sequence_name": "*EP2D_B0"}, "dwi"),
        ({"sequence_name": "*EP2D1_64"}, "epi"),
        ({"scanning_sequence": ("EP", "SE")}, "epi"),
        ({"angiography": True}, "angiography"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "SWI")}, "swi"),
        ({"time_points": 40}, "perfusion"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P")}, "phase"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "B0 MAP")}, "fieldmap"),
        ({"scan_options": ("PFP", "FS")}, "fat_suppressed"),
        ({"ti_ms": 160.0, "te_ms": 60.0, "echo_train_length": 8}, "fat_suppressed"),
        ({"description": "Coil survey"}, "localizer"),
        ({"description": "ASSET calibration"}, "calibration"),
        ({"body_part": "KNEE"}, "body_part"),
        ({"description": "DWI b0"}, "dwi"),
        ({"contrast_agent": True}, "contrast"),
        ({"description": "AX T2 +C"}, "contrast"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, "derived"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "MIP")}, "derived"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M", "MOSAIC")}, "mosaic"),
        ({"frames": 30}, "multiframe"),
        ({"orientation": None}, "geometry"),
        ({"pixel_spacing_mm": None}, "geometry"),
        ({"orientation": (0.0,) * 6}, "geometry"),
        ({"modality": "US"}, "modality"),
        ({"te_ms": 20.0, "tr_ms": 600.0, "scanning_sequence": ("GR",)}, "weighting"),
    ],
)
def test_each_rule_finds_its_kind(changes: dict, rule: str) -> None:
    verdict = classify(series(**changes), Rules())
    assert verdict.rule == rule
    assert verdict.reason


CT_RULES = ("sharp_kernel", "tube_voltage", "low_dose", "cone_beam")
UNWANTED = {
    "dwi": {"diffusion_b_value": 1000.0},
    "t1": {"te_ms": 12.0, "tr_ms": 500.0},
    "pd": {"te_ms": 20.0},
    "flair": {"ti_ms": 2500.0},
    "fat_suppressed": {"scan_options": ("FS",)},
    "contrast": {"contrast_agent": True},
    "tse": {"echo_train_length": 9},
    "epi": {"scanning_sequence": ("EP", "SE")},
    "angiography": {"angiography": True},
    "derived": {"from_images": True},
    "body_part": {"description": "KNEE"},
    "localizer": {"description": "localizer"},
    "weighting": {"te_ms": None},
    "sharp_kernel": {"kernel": "H70H"},
    "tube_voltage": {"tube_kv": 80.0},
    "low_dose": {"description": "low dose"},
    "cone_beam": {"description": "cone beam"},
}


@pytest.mark.parametrize(("rule", "changes"), UNWANTED.items(), ids=UNWANTED)
def test_a_rule_asks_every_image_not_the_first(rule: str, changes: dict) -> None:
    """One odd image of ten is a stray, first or not; nine are the series."""
    usual = series(CT if rule in CT_RULES else T2_SPIN_ECHO, 10).instances
    odd = tuple(replace(one, **changes) for one in usual)
    assert rule_of(Series("P", "S", (*odd[:1], *usual[1:]))) == ""
    assert rule_of(Series("P", "S", (*usual[:1], *odd[1:]))) == rule


def test_ct_without_rescale_is_no_hu() -> None:
    assert rule_of(series(CT, has_rescale=False)) == "rescale"
    item = series(CT)
    one_bad = replace(item, instances=(*item.instances[:-1], replace(item.instances[-1], has_rescale=False)))
    assert rule_of(one_bad) == "rescale"


def test_an_undefined_unit_in_more_slices_than_strays_is_no_hu() -> None:
    item = series(CT, count=12)
    one = replace(item, instances=(replace(item.first, undefined_unit=True), *item.instances[1:]))
    assert rule_of(one) == ""
    assert rule_of(series(CT, count=12, undefined_unit=True)) == "rescale"


def test_three_orientations_labelled_original_are_a_localizer() -> None:
    parts = [series(orientation=cosines, count=3).instances for cosines in (AXIAL, CORONAL, SAGITTAL)]
    assert rule_of(Series("P", "S", tuple(item for part in parts for item in part))) == "localizer"


def test_one_scout_among_many_slices_does_not_cost_the_series() -> None:
    scout = replace(
        series(orientation=CORONAL, count=1).first, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")
    )
    item = series(count=20)
    assert rule_of(replace(item, instances=(*item.instances, scout))) == ""


def test_the_wanted_weighting_is_not_refused_by_its_own_name() -> None:
    t1 = series(te_ms=14.0, tr_ms=500.0)
    assert rule_of(t1, weighting="t1") == ""
    assert rule_of(series(), weighting="t1") == "weighting"
    assert rule_of(t1, weighting="any") == "t1"
    assert rule_of(t1, weighting="any", reject=()) == ""


@pytest.mark.parametrize(
    ("description", "found"),
    [
        ("T1 POST GD", True),
        ("AX T1 CE", True),
        ("t1 ohne KM", False),
        ("HEAD W/O CONTRAST", False),
        ("FACE", False),
        ("AX T2 POST", True),
        ("POST FOSSA", False),
        ("T1 + C", True),
        ("POSTERIOR", False),
        ("kontrastmittel", True),
        ("HEAD UNENHANCED", False),
    ],
)
def test_contrast_words(description: str, found: bool) -> None:
    assert bool(contrast_agent(replace(T2_SPIN_ECHO, description=description))) is found


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("H31S", "soft"),
        ("HR40F", "soft"),
        ("H70H", "sharp"),
        ("['HR68', '3']", "sharp"),
        ("STANDARD", "soft"),
        ("STD+", "soft"),
        ("BONEPLUS", "sharp"),
        ("UB", "soft"),
        ("YD", "sharp"),
        ("FC26", "soft"),
        ("FC30", "sharp"),
        ("", "unknown"),
        ("XYZ", "unknown"),
    ],
)
def test_kernels_of_the_vendors(kernel: str, expected: str) -> None:
    assert kernel_class(replace(CT, kernel=kernel)) == expected


def test_choice_prefers_the_soft_kernel_then_more_slices_and_lists_losers() -> None:
    bone = series(CT, count=40, name="A", kernel="H70H")
    soft = series(CT, count=20, name="B", kernel="H31S")
    short, long = series(count=9, name="C"), series(count=12, name="D")
    rules = Rules(reject=tuple(name for name in REJECTABLE if name != "sharp_kernel"))
    for order in ([bone, soft, short, long], [long, short, soft, bone]):
        choice = choose("P", order, rules)
        assert (choice.ct, choice.mr, choice.status) == (soft, long, "paired")
        reasons = {item.series.name: item.verdict.reason for item in choice.decisions if not item.kept}
        assert set(reasons) == {"A", "C"}
        assert reasons["A"].endswith("this one has a sharp kernel, a better one a soft one (by soft_kernel)")
        assert reasons["C"].endswith("this one covers 45 mm, a better one 60 mm (by more_coverage)")


@pytest.mark.parametrize(("spacing_mm", "count"), [(10.0, 40), (4.9, 30)])
def test_coverage_beyond_a_head_and_below_a_centimeter_decides_nothing(spacing_mm: float, count: int) -> None:
    def spaced(name: str, gap_mm: float, slices: int, pixel_mm: float) -> Series:
        item = series(name=name, count=slices, pixel_spacing_mm=(pixel_mm, pixel_mm))
        places = [(0.0, 0.0, gap_mm * k) for k in range(slices)]
        return replace(
            item,
            instances=tuple(
                replace(one, position=place) for one, place in zip(item.instances, places, strict=True)
            ),
        )

    head, other = spaced("head", 5.0, 31, 0.5), spaced("other", spacing_mm, count, 1.0)
    choice = choose("P", [head, other], Rules(prefer=("more_coverage", "finer_pixels")))
    assert choice.mr == head
    [loser] = [decision for decision in choice.decisions if not decision.kept]
    assert "has pixels of 1 mm, a better one of 0.5 mm (by finer_pixels)" in loser.verdict.reason


def test_the_ct_nearest_in_time_is_chosen_and_a_broken_one_gives_way() -> None:
    mr = series(name="M", acquired=date(2020, 1, 10))
    near = series(CT, name="N", acquired=date(2020, 1, 9))
    far = series(CT, name="F", count=9, acquired=date(2020, 3, 1))
    choice = choose("P", [mr, near, far], Rules())
    assert (choice.ct, choice.days_between) == (near, 1)
    again = choose("P", [mr, near, far], Rules(), {"N": Measured(rejected(PIXELS, "truncated pixels"))})
    assert (again.ct, again.days_between) == (far, 51)
    limited = choose("P", [mr, far], Rules(max_days_between=50))
    assert limited.status == "left_out"
    assert "51 days" in limited.reason
    undated = choose("P", [series(name="M"), far], Rules(max_days_between=50))
    assert (undated.status, undated.reason) == (
        "paired",
        "the days between CT and MR are unknown: a date is missing or cannot be true",
    )


def test_an_empty_cohort_names_rule_vendors_and_key() -> None:
    def patient(n: int, vendor: str) -> list[Series]:
        return [
            series(CT, name="ct", patient=str(n)),
            series(name="tse", patient=str(n), echo_train_length=15, vendor=vendor),
            series(name="loc1", patient=str(n), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), te_ms=5.0),
            series(name="loc2", patient=str(n), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), te_ms=5.0),
        ]

    rules = Rules()
    choices = [choose(str(n), patient(n, "Philips" if n else "GE"), rules) for n in range(3)]
    text = explain_empty(choices, rules)
    assert "Rule 'tse' removed 3 MR series (GE 1, Philips 2)" in text
    assert text.endswith("keep them with -S 'select.accept=[tse]'.")
    more = replace(rules, accept=("body_part", "flair"))
    text = explain_empty([choose("1", patient(1, "GE"), more)], more)
    assert text.endswith("keep them with -S 'select.accept=[body_part,flair,tse]'.")


def test_the_advice_names_every_key_that_a_series_needs():
    """A FLAIR is rejected by its own rule, as a turbo spin echo, and since T2 is wanted."""
    flair = series(name="flair", ti_ms=2500.0, tr_ms=9000.0, te_ms=110.0, echo_train_length=15)
    patient = [series(CT, name="ct"), flair]
    text = explain_empty([choose("1", patient, Rules())], Rules())
    assert text.endswith("keep them with -S 'select.accept=[flair,tse]' -S select.weighting=any.")
    relaxed = Rules(accept=("flair", "tse"), weighting="any")
    assert choose("1", patient, relaxed).status == "paired"


def test_an_accepted_rule_does_not_hold_whatever_the_list_of_refused_kinds() -> None:
    turbo = series(echo_train_length=15, contrast_agent=True)
    assert rule_of(turbo) == "contrast"
    assert rule_of(turbo, accept=("contrast",)) == "tse"
    assert rule_of(turbo, accept=("contrast", "tse")) == ""
    assert rule_of(turbo, accept=("contrast", "tse"), reject=("tse", "flair")) == ""
    assert rule_of(series(), accept=("tse",), reject=()) == ""  # a rule that `reject` does not hold


def test_the_table_holds_every_rule_once_with_its_meaning() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names)) == 41
    assert set(REJECTABLE) < set(names)
    assert all(rule.meaning and "\n" not in rule.meaning for rule in RULES)
    assert {rule.limit for rule in RULES} - {""} == {"min_coverage_mm", "min_field_mm", "max_spacing_mm"}
    assert all(getattr(Rules(), rule.limit) == 0 for rule in RULES if rule.limit)


@pytest.mark.parametrize(
    ("items", "rules", "expected"),
    [
        ([series(CT)], Rules(), "there is no MR"),
        ([series(CT, name="a"), series(name="b", te_ms=None)], Rules(), "select.weighting=any"),
        (
            [series(CT, name="a", acquired=date(2020, 1, 1)), series(name="b", acquired=date(2020, 2, 1))],
            Rules(max_days_between=9),
            "select.max_days_between=0",
        ),
        ([series(CT, name="a", has_rescale=False), series(name="b")], Rules(), "Rule 'rescale' removed 1 CT"),
    ],
)
def test_empty_cohorts_of_other_causes(items: list, rules: Rules, expected: str) -> None:
    assert expected in explain_empty([choose("P", items, rules)], rules)


def test_patients_who_have_only_one_of_both() -> None:
    choices = [choose("1", [series(CT)], Rules()), choose("2", [series()], Rules())]
    assert [choice.status for choice in choices] == ["unpaired", "unpaired"]
    assert "none has both" in explain_empty(choices, Rules())
