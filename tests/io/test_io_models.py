import json
import os
import pickle
import stat

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_so3.io.models import ModelFileError, read_model_file, write_model_file

HEADER = {"box": 64, "pixel_size": 7.08, "grid": {"order": 1}, "name": "β-gal", "invert": True}
reuse_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, generator=generator)
    return {"a.weight": weight, "tied": weight, "turned": weight.T, "n": torch.tensor(3)}


@pytest.fixture
def path(tmp_path, tensors):
    path = tmp_path / "model é.safetensors"
    write_model_file(path, HEADER, tensors)
    return path


def refusal(path):
    with pytest.raises(ModelFileError) as caught:
        read_model_file(path)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ") and text.endswith(".") and "\n" not in text
    return text


def test_round_trip(path, tensors):
    header, read = read_model_file(path)
    assert header == HEADER
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
    assert list(path.parent.iterdir()) == [path]


def test_tensors_do_not_depend_on_the_file(path, tensors):
    _, read = read_model_file(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(read["a.weight"], tensors["a.weight"])


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_it_as_the_umask_says(tmp_path):
    old = os.umask(0o022)
    try:
        write_model_file(tmp_path / "m.safetensors", {}, {})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == 0o644


@pytest.mark.parametrize("header", [{"a": float("nan")}, {"a": {1}}])
def test_a_header_that_is_not_json_leaves_the_old_file(path, header):
    with pytest.raises((TypeError, ValueError)):
        write_model_file(path, header, {})
    assert read_model_file(path)[0] == HEADER


class TestRefusals:
    def write(self, tmp_path, content, name="m.safetensors"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    def test_missing_empty_and_folder(self, tmp_path):
        assert "No such file" in refusal(tmp_path / "m.safetensors")
        assert "empty" in refusal(self.write(tmp_path, b""))
        (tmp_path / "d.safetensors").mkdir()
        refusal(tmp_path / "d.safetensors")

    @pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
    @pytest.mark.parametrize("legacy", [False, True])
    def test_torch_files_are_never_loaded(self, tmp_path, name, legacy):
        torch.save(
            {"a": torch.zeros(2)}, tmp_path / name, _use_new_zipfile_serialization=not legacy
        )
        assert "never loaded" in refusal(tmp_path / name)

    def test_pickles_are_never_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "ran"),)

        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            path = self.write(tmp_path, pickle.dumps(Bomb(), protocol), "m.sav")
            assert "never loaded" in refusal(path)
        assert not (tmp_path / "ran").exists()

    def test_foreign(self, tmp_path):
        path = tmp_path / "m.safetensors"
        for metadata in (None, {"format": "pt"}):
            save_file({"a": torch.zeros(2)}, path, metadata)
            assert "another program" in refusal(path)

    @pytest.mark.parametrize(
        ("document", "words"),
        [
            ({"format": 2, "header": {}}, "newer napari-so3"),
            ({"format": 99}, "damaged"),
            ({"format": "1", "header": {}}, "damaged"),
            ({"format": True, "header": {}}, "damaged"),
            ({"format": 0, "header": {}}, "damaged"),
            ({"format": 1, "header": []}, "damaged"),
            ([1], "damaged"),
        ],
    )
    def test_headers(self, tmp_path, document, words):
        path = tmp_path / "m.safetensors"
        save_file({}, path, {"napari-so3": json.dumps(document)})
        assert words in refusal(path)

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 9999])
    def test_metadata_that_is_no_json(self, tmp_path, text):
        path = tmp_path / "m.safetensors"
        save_file({}, path, {"napari-so3": text})
        assert "damaged" in refusal(path)

    @pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 10**12])
    def test_hostile_length(self, tmp_path, length):
        content = length.to_bytes(8, "little") + b'{"a":1}'
        assert "longer than the file" in refusal(self.write(tmp_path, content))

    def test_truncated_anywhere(self, path, tmp_path):
        content = path.read_bytes()
        for length in range(len(content)):
            refusal(self.write(tmp_path, content[:length], "cut.safetensors"))

    @reuse_folder
    @given(st.binary(max_size=300))
    def test_random_bytes(self, tmp_path, content):
        refusal(self.write(tmp_path, content))
        length = len(content).to_bytes(8, "little")
        refusal(self.write(tmp_path, length + b"{" + content[1:]))

    @reuse_folder
    @given(data=st.data())
    def test_flipped_bits_of_the_header(self, path, tmp_path, data):
        content = bytearray(path.read_bytes())
        end = 8 + int.from_bytes(content[:8], "little")
        for bit in data.draw(st.lists(st.integers(0, 8 * end - 1), min_size=1, max_size=3)):
            content[bit // 8] ^= 1 << bit % 8
        flipped = self.write(tmp_path, bytes(content), "flipped.safetensors")
        try:
            read_model_file(flipped)
        except ModelFileError as error:
            assert str(error).startswith("flipped.safetensors: ") and "\n" not in str(error)
