"""The picking desk with 5,000 micrographs of 300 candidates: opening, going on, dragging.

Windows are drawn by software under Xvfb, which takes most of the time where something is drawn. The
rivals do the same with napari alone, as a plugin without a desk would.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from large_session import make_session
from measure import Cost, Costs
from qtpy.QtCore import QTimer
from window import draw, timed, work_for, work_until

from napari_so3.io.micrographs import find_micrographs
from napari_so3.picking.picks import CANDIDATES
from napari_so3.session.pool import read_run, save_cache
from napari_so3.session.state import Session
from napari_so3.widgets.desk_docks import open_desk
from napari_so3.widgets.layers import RINGS

MICROGRAPHS, EACH = 5_000, 300
STEPS = 12
COLD = pytest.StashKey[Cost]()  # reading the candidates for the first time
OPENING = f"the desk: opening {MICROGRAPHS:,} micrographs with {MICROGRAPHS * EACH:,} candidates"
NEXT = "the desk: the next micrograph of 4096 x 4096 or 4092 x 5760 pixels, until it is drawn"
DRAG = "the desk: a step of the threshold, 10,000 candidates shown, until the numbers are there"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Folder of the session; its candidates have been read once."""
    made = make_session(tmp_path_factory.mktemp("large"), MICROGRAPHS, EACH)
    session = Session.look_at(made)
    assert session.run_folder is not None
    begin = time.perf_counter()
    items, _ = read_run(session.run_folder, session.names)
    pytestconfig.stash[COLD] = Cost(time.perf_counter() - begin)
    save_cache(session.run_folder, items)
    return made


@pytest.fixture
def desk(viewer: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """The docks, with the session opened and drawn."""
    docks = open_desk(viewer)
    open_session(docks, folder)
    yield docks
    docks["Micrographs"].session.close()


def open_session(docks: dict[str, Any], folder: Path) -> None:
    micrographs = docks["Micrographs"]
    micrographs.opener.open([folder])
    work_until(lambda: micrographs.desk.image is not None)
    work_until(lambda: len(micrographs.session.pool) == MICROGRAPHS)


def test_opening(
    viewer: Any, folder: Path, costs: Costs, benchmark: Any, pytestconfig: pytest.Config
) -> None:
    docks, first = open_desk(viewer), []
    micrographs = docks["Micrographs"]

    def ours() -> None:
        begin = time.perf_counter()
        micrographs.opener.open([folder])
        work_until(lambda: micrographs.desk.image is not None)
        first.append(Cost(time.perf_counter() - begin))
        work_until(lambda: len(micrographs.session.pool) == MICROGRAPHS)

    whole = timed(lambda: benchmark.pedantic(ours, rounds=1))
    micrographs.session.close()

    def rival() -> None:
        tables = folder / "picks" / Session.look_at(folder).run / CANDIDATES
        for path in find_micrographs([folder.parent]):
            pd.read_csv(tables / f"{path.stem}.csv", skiprows=1)

    costs.add(OPENING, "first micrograph shown", first)
    costs.add(OPENING, "all candidates there", [whole])
    costs.add(OPENING, "candidates without the cache", [pytestconfig.stash[COLD]])
    costs.add(OPENING, "pandas reads the tables", [timed(rival)])


def test_next(viewer: Any, desk: dict[str, Any], costs: Costs, benchmark: Any) -> None:
    shown: list[str] = []
    controller = desk["Pick particles"].desk
    controller.shown.connect(shown.append)
    process = psutil.Process()
    steps: list[Cost] = []

    def step() -> None:
        work_for(0.7)  # a glance
        before = len(shown)

        def go() -> None:
            controller.step(1)
            work_until(lambda: len(shown) > before)
            draw(viewer)

        steps.append(timed(go))

    benchmark.pedantic(step, rounds=STEPS)
    peak = process.memory_info().rss
    benchmark.extra_info["rss"] = peak
    paths = list(controller.session.paths.values())[100 : 100 + STEPS]
    viewer.layers.clear()
    tables = controller.session.run_folder / CANDIDATES

    def rival(path: Path) -> None:
        viewer.layers.clear()
        (image,) = viewer.open(str(path), plugin="napari-so3")
        table = pd.read_csv(tables / f"{path.stem}.csv", skiprows=1)
        viewer.add_points(table[["y", "x"]], features=table, size=150, scale=image.scale, **RINGS)
        draw(viewer)

    costs.add(NEXT, f"the desk ({peak / 1e6:.0f} MB in all)", steps)
    costs.add(NEXT, "drawing alone", [timed(lambda: draw(viewer)) for _ in range(STEPS)])
    costs.add(NEXT, "napari opens files", [timed(lambda p=p: rival(p)) for p in paths])


def test_dragging(viewer: Any, desk: dict[str, Any], costs: Costs, benchmark: Any) -> None:
    pick = desk["Pick particles"]
    session, points = pick.session, many_candidates(pick)
    wanted = iter(np.linspace(-2, 2, STEPS + 1))
    steps: list[Cost] = []

    def step() -> None:
        work_for(0.3)
        before = pick.count.text()

        def go() -> None:
            pick.choice.histogram.moved.emit(float(next(wanted)))
            work_until(lambda: pick.count.text() != before)

        steps.append(timed(go))

    benchmark.pedantic(step, rounds=STEPS)
    table = pd.DataFrame({"score": points.features["score"]})
    places = points.data.copy()
    rival = viewer.add_points(places, features=table, size=150, scale=points.scale, **RINGS)

    def replace(limit: float) -> None:
        chosen = (table["score"] >= limit).to_numpy()
        rival.data = places[chosen]
        rival.features = table[chosen].reset_index(drop=True)

    costs.add(DRAG, "the desk, both docks open", steps)
    rounds = [timed(lambda t=t: replace(t)) for t in np.linspace(-2, 2, STEPS)]
    costs.add(DRAG, "points replaced in napari", rounds)
    assert session.threshold is not None


def many_candidates(pick: Any) -> Any:
    """Give the current micrograph 10,000 candidates."""
    from napari_so3.picking.picks import Picks
    from napari_so3.session.pool import Candidates

    session, desk = pick.session, pick.desk
    path = session.run_folder / CANDIDATES / f"{session.current}.csv"
    few = Picks.read_csv(path)
    table = pd.concat([few.table] * 34, ignore_index=True)[:10_000]
    table = table.sort_values("logit", ascending=False, ignore_index=True)
    picks = Picks(table, few.micrograph, few.provenance)
    picks.write_csv(path)
    session.pool.put(session.current, Candidates.of(picks))
    work_until(lambda: desk.picks is not None and len(desk.picks.data) == 10_000)
    work_for(1.0)
    return desk.picks


@pytest.mark.parametrize("work", ["nothing", "picking", "training"])
def test_the_window_lives(
    viewer: Any, tmp_path: Path, micrographs: list[Path], work: str, costs: Costs, benchmark: Any
) -> None:
    for path in micrographs:
        (tmp_path / path.name).symlink_to(path)
    docks = open_desk(viewer)
    pick, label = docks["Pick particles"], docks["Label and train"]
    session = pick.session
    session.pixel_size, session.diameter = 1.0001, 160.0
    docks["Micrographs"].opener.open([tmp_path])
    work_until(lambda: pick.desk.image is not None)
    session.pixel_size, session.diameter = 1.0001, 160.0
    work_until(lambda: pick.form.device.currentText().startswith(("CPU", "GPU")))
    work_for(1.0)
    if work == "training":
        rng = np.random.default_rng(0)
        for name in session.names:
            session.marks.mark(name, "positive", rng.uniform(300, 3000, (20, 2)), near=1)
    gc.collect()
    beats = [time.perf_counter()]
    timer = QTimer(interval=10)
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start()

    def live() -> None:
        if work == "picking":
            pick.picking.run("unpicked", session.names)
            work_until(lambda: not pick.bar.running)
        elif work == "training":
            label.train.train.click()
            work_for(25.0)
        else:
            work_for(10.0)

    benchmark.pedantic(live, rounds=1)
    timer.stop()
    gaps = np.diff(beats)
    title = "the desk: longest time without an answer while something runs"
    costs.add(title, f"{work} ({np.mean(gaps > 0.1):.2%} of beats over 100 ms)", [Cost(gaps.max())])
    session.close()
