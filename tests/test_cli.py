import pytest
from typer.testing import CliRunner

from napari_so3.cli import app
from napari_so3.io.star import read_coordinates


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    "verb", [[], ["pick"], ["evaluate"], ["demo"], ["model"], ["model", "info"]]
)
def test_help_teaches(verb):
    text = run(*verb, "--help")
    assert "Usage" in text
    if verb == ["pick"]:
        for word in ("--diameter", "--threshold", "--device", "Å", "exit code", "Example"):
            assert word in text


def test_pick_says_what_it_did(tmp_path, noise_mrc, tiny_model):
    noise_mrc("mics/a.mrc")
    noise_mrc("mics/b.mrc", seed=1)
    output = tmp_path / "out"
    options = ["-d", 60, "-m", tiny_model, "-o", output, "--device", "cpu"]
    text = run("pick", tmp_path / "mics", *options, "-t", 0)
    assert "2 micrographs" in text and "a.mrc:" in text and "candidates" in text
    assert len(read_coordinates(output / "a_autopick.star")) > 0
    assert "picked before" in run("pick", tmp_path / "mics", *options, "-t", 0.9)


def test_other_rotations_are_another_run(tmp_path, noise_mrc, tiny_model):
    mic, output = noise_mrc("a.mrc"), tmp_path / "out"
    options = ["pick", mic, "-d", 60, "-m", tiny_model, "-o", output, "--device", "cpu"]
    assert "16 rotations" in run(*options)
    assert "40 rotations" in run(*options, "--rotations", "5x8", "--overwrite")
    assert "other settings" in run(*options, code=2)
    assert "picked before" in run(*options, "--rotations", "5X8")


def test_a_broken_micrograph_is_listed_at_the_end_with_exit_code_1(tmp_path, noise_mrc, tiny_model):
    noise_mrc("mics/a.mrc")
    (tmp_path / "mics/b [x].mrc").write_bytes(b"nonsense")
    text = run("pick", tmp_path / "mics", "-d", 60, "-m", tiny_model, "-o", tmp_path / "o", code=1)
    assert "Not picked: b [x].mrc:" in text.splitlines()[-1]
    assert "in 1 micrograph;" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pick", "nowhere.mrc", "-d", 60], "nowhere.mrc"),
        (["pick", "{mic}", "-d", 60, "-m", "nothing"], "no such model"),
        (["pick", "{mic}", "-d", 60, "--device", "abacus"], "abacus"),
        (["pick", "{mic}", "-d", 1], "diameter"),
        (["pick", "{mic}", "-d", 60, "--rotations", "8by8"], "such as 8x8"),
        (["pick", "{mic}", "-d", 60, "--rotations", "0x8"], "such as 8x8"),
        (["pick", "{mic}", "-d", 60, "--rotations", "200x200"], "at most 10000"),
        (["pick", "{mic}", "-d", 60, "-o", "{mic}"], "cannot be written"),
        (["pick", "{mic}", "-d", 60, "-p", -3, "-o", "{tmp}/o"], "pixel size"),
        (["model", "info", "{mic}"], "m.mrc"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path, noise_mrc, arguments, says):
    mic = noise_mrc("m.mrc")
    text = run(
        *(a.format(mic=mic, tmp=tmp_path) if isinstance(a, str) else a for a in arguments),
        code=1 if "-p" in arguments else 2,
    )
    assert says in text


def test_model_info_shows_the_training():
    text = run("model", "info")
    assert "rotations" in text and "EMPIAR" in text
    assert "general" in run("model", "list")


def test_demo_picks_the_sample_and_yours_and_draws(tmp_path, noise_mrc, tiny_model):
    mine = noise_mrc("mine.mrc")
    output = tmp_path / "demo"
    run("demo", mine, "-d", 60, "-m", tiny_model, "-o", output, "--no-show", "--device", "cpu")
    for name in ("sample/sample_picks.png", "yours/mine_picks.png", "yours/mine_autopick.star"):
        assert (output / name).stat().st_size > 0


def test_odd_files_never_crash(tmp_path, tiny_model, data_dir):
    text = run(
        "pick", data_dir / "odd_mrc", "-d", 60, "-m", tiny_model, "-o", tmp_path / "o", code=1
    )
    assert text.count("Not picked:") > 15
    assert "mode12_float16.mrc:" in text
