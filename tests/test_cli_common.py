import pytest
import typer

from napari_so3.cli.common import count, user_errors, watching
from napari_so3.io.micrographs import MicrographError


def test_mistakes_of_the_user_are_a_sentence_and_bugs_are_not(capsys):
    with pytest.raises(typer.Exit) as ended, user_errors():
        raise MicrographError("[a].mrc: is odd.")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "Error: [a].mrc: is odd.\n"
    with pytest.raises(ValueError, match="a bug"), user_errors():
        raise ValueError("a bug")


def test_ctrl_c_is_said_and_the_generator_is_closed(capsys):
    closed = []

    def work():
        try:
            yield from range(9)
        finally:
            closed.append(True)

    with (
        pytest.raises(typer.Exit) as ended,
        user_errors("Stopped. All is well."),
        watching(work()) as (events, progress),
    ):
        task = progress.add_task("things", total=9)
        for _ in events:
            progress.advance(task)
            raise KeyboardInterrupt
    assert ended.value.exit_code == 130 and closed
    assert capsys.readouterr().err == "Stopped. All is well.\n"


def test_counts_are_worded():
    assert [count(n, "pick") for n in (0, 1, 2)] == ["0 picks", "1 pick", "2 picks"]
