import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_so3.io.names import bare_name, match_names

UID = "012345678901234567890"


@pytest.mark.parametrize(
    "name",
    [
        *("a.b", "a.b.mrc", "/x/a.b.mrc", "C:\\x\\a.b.tif", "a.b_autopick.star", "a.b.mrc.gz"),
        *("x/a.b_manualpick.star", "info/a.b_info.json", "a.b.box", "a.b.cbox", "a.b.TXT"),
        *("a.b.tab", "a.b.csv", "a.b.cs"),
    ],
)
def test_names_are_stripped(name):
    assert bare_name(name) == "a.b"


def test_a_bare_name_keeps_what_may_tell_micrographs_apart():
    for name in ("a_DW", f"{UID}_a", "a_patch_aligned", "info", "a_information"):
        assert bare_name(name + ".mrc") == name


@pytest.mark.parametrize(
    ("micrograph", "name"),
    [
        (f"J1/imported/{UID}_a.mrc", "a.box"),
        (f"{UID}_a_patch_aligned_doseweighted.mrc", "a_autopick.star"),
        ("a.mrc", f"{UID}_a_rigid_aligned.mrc"),
        (f"{UID[:18]}_a.mrc", "a.star"),
        ("a_DW.mrc", "a.cbox"),
        ("a-DW.mrc", "a_frames_sum.cbox"),
        ("a_aligned_mic.mrc", "a.txt"),
        ("FoilHole_7_Fractions.mrc", "FoilHole_7_Fractions_patch_aligned_doseweighted.mrc"),
        ("FoilHole_7_EER.mrc", "FoilHole_7.star"),
        ("a.mrc", "a_picks.csv"),
    ],
)
def test_what_programs_add_does_not_part_them(micrograph, name):
    match = match_names([micrograph], [name])
    assert match.pairs == ((micrograph, name),)
    assert match.sentence() == "1 of 1 micrograph matched."


@pytest.mark.parametrize(
    ("micrograph", "name"),
    [
        ("a.mrc", "b.star"),
        ("a1.mrc", "a.star"),
        ("12345_a.mrc", "a.star"),  # too short for a number of cryoSPARC
        ("a.mrc", "A.star"),
        ("a_summary.mrc", "a.star"),
        ("_DW.mrc", "_aligned.star"),  # nothing would be left of them
    ],
)
def test_others_are_not_matched(micrograph, name):
    match = match_names([micrograph], [name])
    assert match.pairs == () and match.ambiguous == ()
    assert match.unmatched_micrographs == (micrograph,) and match.unmatched_names == (name,)


def test_exact_stems_go_first():
    match = match_names(["a.mrc", "a_DW.mrc"], ["a_DW.star", "a.star"])
    assert match.pairs == (("a.mrc", "a.star"), ("a_DW.mrc", "a_DW.star"))
    match = match_names(["a.mrc"], [f"{UID}_a.star", "a.star"])
    assert match.pairs == (("a.mrc", "a.star"),) and match.unmatched_names == (f"{UID}_a.star",)


def test_names_are_never_stripped_so_that_micrographs_collide():
    for names in (["a.star"], ["a_patch_aligned.star"]):
        match = match_names(["a_DW.mrc", "a_aligned_mic.mrc"], names)
        assert match.pairs == ()
        assert match.ambiguous == ((("a_DW.mrc", "a_aligned_mic.mrc"), tuple(names)),)
    match = match_names(["a.mrc", "a_DW.mrc"], ["a.star", "a_ali.star"])
    assert match.pairs == (("a.mrc", "a.star"),)
    assert match.ambiguous == ((("a_DW.mrc",), ("a_ali.star",)),)


def test_several_files_of_one_micrograph_are_ambiguous():
    for names in (["a.star", "a.box"], ["a_DW.star", "a_ali.star"]):
        match = match_names(["x/a.mrc", "b.mrc"], [*names, "b.star"])
        assert match.pairs == (("b.mrc", "b.star"),)
        assert match.ambiguous == ((("x/a.mrc",), tuple(names)),)
    assert match.sentence() == (
        "1 of 2 micrographs matched; unclear how a_DW.star, a_ali.star belong to a.mrc, left out."
    )


def test_the_sentence_counts_and_names():
    micrographs = [f"m/{i}.mrc" for i in range(12)] + ["m/a.mrc", "m/b.mrc"]
    names = [f"{i}_autopick.star" for i in range(12)] + ["x.star", "y.star", "z.star", "w.star"]
    assert match_names(micrographs, names).sentence() == (
        "12 of 14 micrographs matched; 2 without picks (a.mrc, b.mrc); "
        "4 names of picks match nothing (x.star, y.star, z.star, ...)."
    )


parts = st.sampled_from(["a", "b", "a_DW", "a_ali", f"{UID}_a", "b_autopick", "x/a", "c_sum"])


@given(st.lists(parts, max_size=6), st.lists(parts, max_size=6))
def test_nothing_is_lost_or_used_twice(micrographs, names):
    match = match_names(micrographs, names)
    ours = [m for m, _ in match.pairs] + list(match.unmatched_micrographs)
    ours += [m for group, _ in match.ambiguous for m in group]
    theirs = [n for _, n in match.pairs] + list(match.unmatched_names)
    theirs += [n for _, group in match.ambiguous for n in group]
    assert sorted(ours) == sorted(set(micrographs)) and sorted(theirs) == sorted(set(names))
    assert match.sentence().endswith(".")
