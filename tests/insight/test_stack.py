import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_so3.insight import stack as module
from napari_so3.insight.stack import RotationStack, StackError, maxima

SHAPE = (6, 7, 9)
PARTS = [
    0,
    -1,
    np.int64(2),
    slice(1, 3),
    slice(None, None, -2),
    [3, 1],
    (slice(None), 3, 4),
    (slice(None), -1, slice(2, 5)),
    (slice(None), slice(1, 4), slice(2, 5)),
    (slice(None), slice(4, 1), slice(None)),
    (2, ...),
    (..., 3),
    (1, 2, -1),
    (np.array([5, 0]), slice(0, 2), 2),
]


@pytest.fixture(params=["memory", "file"])
def kind(request, monkeypatch, tmp_path):
    """Where the values are."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", None)
    if request.param == "file":
        monkeypatch.setattr(module, "BUDGET", 10)
    return request.param


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float16)


@pytest.fixture
def restless():
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def filled(values) -> RotationStack:
    """Write values in parts, as tiles and chunks of rotations come."""
    stack = RotationStack.empty(values.shape)
    for rotations in (slice(0, 4), slice(4, 6)):
        for rows in (slice(0, 3), slice(3, 7)):
            for cols in (slice(0, 5), slice(5, 9)):
                stack.write(rotations, rows, cols, values[rotations, rows, cols])
    return stack


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_part_is_that_of_the_array(kind, values, part):
    got = filled(values)[part]
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, values[part])


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_part_of_the_ordered_maps_is_that_of_the_ordered_array(kind, values, part):
    order = np.array([5, 3, 1, 0, 2, 4])
    for stack in (filled(values).ordered(order), module.OrderedStack(values, order)):
        np.testing.assert_array_equal(stack[part], values[order][part])
        np.testing.assert_array_equal(np.asarray(stack), values[order])
        assert (stack.shape, stack.ndim, stack.dtype) == (SHAPE, 3, np.float16)


@pytest.mark.parametrize(
    "part", [6, -7, (0, 7), (0, 0, 9), (0, 0, 0, 0), (0, slice(None, None, 2))]
)
def test_what_is_not_there_is_an_error(kind, values, part):
    with pytest.raises(IndexError):
        filled(values)[part]


def test_a_part_can_be_changed_without_changing_the_maps(kind, values):
    stack = filled(values)
    stack[2][:] = 0
    stack[:][:] = 0
    np.testing.assert_array_equal(np.asarray(stack), values)


def test_the_largest_values_are_known(kind, values):
    stack = filled(values)
    for by_rotation, by_pixel in (maxima(stack), maxima(values)):
        np.testing.assert_array_equal(by_rotation, values.max(axis=(1, 2)))
        np.testing.assert_array_equal(by_pixel, values.max(axis=0))


@pytest.mark.parametrize("_again", range(8))
def test_threads_may_write_at_once(kind, restless, _again):
    values = np.random.default_rng(1).normal(size=(64, 40, 50)).astype(np.float16)
    stack, begun = RotationStack.empty(values.shape), threading.Barrier(8)

    def work(first: int) -> None:
        begun.wait()
        for i in range(first, 64, 8):
            for rows in (slice(0, 25), slice(25, 40)):
                part = slice(i, i + 1), rows, slice(10, 50)
                stack.write(*part, values[part])

    run_together([threading.Thread(target=work, args=(i,)) for i in range(8)])
    np.testing.assert_array_equal(stack[..., 10:], values[..., 10:])
    assert not np.asarray(stack[..., :10]).any()
    np.testing.assert_array_equal(stack.by_rotation, values[..., 10:].max(axis=(1, 2)))
    np.testing.assert_array_equal(stack.by_pixel[:, 10:], values[..., 10:].max(axis=0))


def test_threads_may_read_at_once(kind, restless):
    values = np.random.default_rng(2).normal(size=(64, 40, 50)).astype(np.float16)
    stack, wrong = RotationStack.empty(values.shape), []
    stack.write(slice(0, 64), slice(0, 40), slice(0, 50), values)

    def work(first: int) -> None:
        for i in list(range(first, 64, 4)) * 20:
            if not np.array_equal(stack[i], values[i]):
                wrong.append(i)

    run_together([threading.Thread(target=work, args=(i,)) for i in range(4)])
    assert wrong == []


@pytest.mark.skipif(not module.ON_DISK.is_dir(), reason="has no such folder")
def test_a_large_file_is_on_disk_not_in_memory(monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    with pytest.raises(StackError, match=f"^{module.ON_DISK}:"):
        RotationStack.empty((576, 10**6, 10**5))


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_maps_in_a_file_do_not_stay_in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", None)
    monkeypatch.setattr(module, "BUDGET", 10)
    shape = (100, 500, 1000)  # 100 MB
    before = resident()
    stack = RotationStack.empty(shape)
    one = np.ones((4, 250, 1000), np.float16)
    for i in range(0, 100, 4):
        for rows in (slice(0, 250), slice(250, 500)):
            stack.write(slice(i, i + 4), rows, slice(0, 1000), one)
    total = sum(float(stack[i].astype(np.float32).sum()) for i in range(100))
    stack[:, 100:160, 100:160]
    assert total == np.prod(shape)
    assert resident() - before < 20e6
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", None)
    with pytest.raises(StackError, match=f"^{tmp_path}: .* 576 rotations .* make room"):
        RotationStack.empty((576, 10**6, 10**5))


def test_what_the_window_thread_imports_comes_without_torch():
    names = ("stack", "evidence", "order", "orientation_map")
    imports = "; ".join(f"import napari_so3.insight.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
