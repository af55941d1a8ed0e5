"""Sessions on disk with made-up candidates; no micrograph is read."""

import numpy as np
import pytest
from scipy.special import expit

from napari_so3.picking.picks import CANDIDATES, Picks, make_table
from napari_so3.session.state import Session

SHAPE, PIXEL_SIZE = (400, 600), 2.0
ANGLES = np.array([[10.0 * (i // 4), 5.0 * (i // 4), 90.0 * (i % 4)] for i in range(16)])


@pytest.fixture
def make_picks():
    """Make candidates of a micrograph, best first; `n` of them, at whole pixels."""

    def make(n=30, seed=0, name="a.mrc", shape=SHAPE):
        rng = np.random.default_rng(seed)
        positions = rng.uniform(0, np.array(shape) - 1, (n, 2)).round(2)
        logits = np.sort(rng.normal(size=n) * 3)[::-1].astype(np.float32)
        table = make_table(positions, logits, rng.integers(16, size=n), ANGLES)
        assert np.allclose(table["probability"], expit(table["logit"]))
        known = {"pixel_size": PIXEL_SIZE, "shape": list(shape), "diameter": 100.0}
        return Picks(table, name, known)

    return make


@pytest.fixture
def session(tmp_path):
    """A session of five micrographs that is kept."""
    made = Session(diameter=40.0)
    made.save_in(tmp_path / "mics" / "napari-so3")
    made.add_micrographs([tmp_path / "mics" / f"m{i}.mrc" for i in range(5)])
    yield made
    made.close()


@pytest.fixture
def write_run(session, make_picks):
    """Write a run of picks of the first micrographs; give its folder."""

    def write(n_micrographs=3, n=30, run="run"):
        folder = session.folder / "picks" / run
        (folder / CANDIDATES).mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(session.names[:n_micrographs]):
            make_picks(n, i, f"{name}.mrc").write_csv(folder / CANDIDATES / f"{name}.csv")
        return folder

    return write
