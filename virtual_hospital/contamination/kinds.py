"""All kinds of contaminating series, and which of them a patient has.

The list was drawn up from what hospitals send, before any selection rule was tried on it, and so was the later
one, when the rules met all of the first: a rule that errs on a kind is mended in general terms, the kind stays as
it is.
"""

from virtual_hospital.contamination.ct_kinds import MAKERS
from virtual_hospital.contamination.later_kinds import LATER
from virtual_hospital.contamination.mr_kinds import ROWS, make_mr
from virtual_hospital.contamination.scene import Scene
from virtual_hospital.series import Series

A_PATIENT = 3
# a cohort of 18 has a patient without MR (5) and one without CT (7): their turns hold kinds that they can have
_CT_ONLY_FROM = 5 * A_PATIENT


def _in_turn() -> tuple[str, ...]:
    mr, ct = tuple(ROWS), tuple(MAKERS)
    after = mr[_CT_ONLY_FROM:]
    return (*mr[:_CT_ONLY_FROM], *ct[:A_PATIENT], *after[: 2 * A_PATIENT], *_mixed(after, ct))


def _mixed(mr: tuple[str, ...], ct: tuple[str, ...]) -> tuple[str, ...]:
    """The CT kinds that are left, one a patient among the MR kinds that are left."""
    rest_mr, rest_ct = list(mr[2 * A_PATIENT :]), list(ct[A_PATIENT:])
    mixed: list[str] = []
    while rest_mr or rest_ct:
        mixed += rest_ct[:1] + rest_mr[: A_PATIENT - 1]
        del rest_ct[:1], rest_mr[: A_PATIENT - 1]
    return tuple(mixed)


KINDS = _in_turn()


def kinds_of(n: int) -> tuple[str, ...]:
    """The kinds that patient n has beside what every patient has: some of the first list, one of the later."""
    first = (KINDS[(n * A_PATIENT + turn) % len(KINDS)] for turn in range(A_PATIENT))
    return (*first, tuple(LATER)[n % len(LATER)])


def contaminate(n: int, scene: Scene) -> list[Series]:
    """The patient's contaminating series, in the order in which they were made."""
    makers = {**MAKERS, **LATER}
    return [makers[kind](scene) if kind in makers else make_mr(kind, scene) for kind in kinds_of(n)]
