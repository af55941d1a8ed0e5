import numpy as np
import pytest

from napari_so3.io.star import write_picks_star
from napari_so3.training.datasets import DATA_SETS, DataSet, read_part


@pytest.fixture
def tiny_data(tmp_path, noise_mrc):
    for name in ("keep", "held"):
        noise_mrc(f"set/{name}1.mrc", shape=(400, 420))
        write_picks_star(tmp_path / f"set/{name}1.star", name, [50.0, 210], [60.0, 90], [0, 0])
    return DataSet("test", "set", "set", 4.0, 80.0, ("held",), coordinate_scale=0.5)


def test_held_out_micrographs_are_not_read(tmp_path, tiny_data):
    part = read_part(tmp_path, tiny_data)
    assert list(part) == ["keep1"]
    np.testing.assert_allclose(part["keep1"].labels.positives, [[30, 25], [45, 105]])
    assert part["keep1"].labels.complete
    assert list(read_part(tmp_path, tiny_data, held_out=True)) == ["held1"]


def test_the_split_of_the_real_data(data_dir):
    counts = [
        [len(read_part(data_dir, what, held_out)) for what in DATA_SETS]
        for held_out in (False, True)
    ]
    assert counts == [[10, 10, 13, 3], [3, 3, 2, 1]]
