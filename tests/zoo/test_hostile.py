"""Weights files that do not fit or mean harm: one error that names the file, and nothing is executed."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import hcd
from hcd.errors import WeightsError
from hcd.nets import IRN
from tests.conftest import make_tiny_irn


@pytest.fixture
def state():
    """State of a tiny ×4 IRN."""
    return {key: tensor.contiguous() for key, tensor in make_tiny_irn(4).net.state_dict().items()}


def refused(path, match=None):
    """The message with which a file is refused."""
    with pytest.raises(WeightsError, match=match) as caught:
        hcd.load("irn-x4", weights=path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


class TestDoesNotFit:
    @pytest.fixture(params=["pth", "safetensors"])
    def refused_tensors(self, request, tmp_path):
        def check(tensors, match=None):
            path = tmp_path / f"weights.{request.param}"
            torch.save(tensors, path) if request.param == "pth" else save_file(tensors, path)
            return refused(path, match)

        return check

    @pytest.mark.parametrize("blocks", [(1,), (1, 1, 1)])
    def test_wrong_scale(self, refused_tensors, blocks):
        refused_tensors(IRN(blocks).state_dict(), rf"scale {2 ** len(blocks)}, 'irn-x4' needs 4")

    @pytest.mark.parametrize("key", ["operations.1.F.conv3.weight", "operations.3.H.conv5.bias"])
    def test_missing_key(self, refused_tensors, state, key):
        del state[key]
        assert key in refused_tensors(state, "found nothing")

    @pytest.mark.parametrize("key", ["operations.0.haar_weights", "operations.1.F.conv1.weight"])
    def test_missing_key_that_tells_the_depth(self, refused_tensors, state, key):
        del state[key]
        refused_tensors(state)

    def test_wrong_shape(self, refused_tensors, state):
        state["operations.1.G.conv2.weight"] = torch.zeros(32, 35, 5, 5)
        message = refused_tensors(state, r"operations\.1\.G\.conv2\.weight: found shape \(32, 35, 5, 5\)")
        assert "needs (32, 35, 3, 3)" in message

    @pytest.mark.parametrize(
        "key", ["operations.1.F.conv6.weight", "discriminator.weight", "operations.9.G.conv1.bias"]
    )
    def test_surplus_key(self, refused_tensors, state, key):
        state[key] = torch.zeros(3)
        assert key in refused_tensors(state, "not part of an IRN")

    def test_wrong_haar_filters(self, refused_tensors, state):
        state["operations.2.haar_weights"] *= -1
        refused_tensors(state, r"operations\.2\.haar_weights: the filters are not those of the Haar transform")

    def test_other_network(self, refused_tensors):
        refused_tensors({"conv.weight": torch.zeros(1)}, "holds no IRN weights, which 'irn-x4' needs")

    def test_no_tensors_at_all(self, refused_tensors):
        refused_tensors({}, "holds no IRN weights")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_no_numbers(self, refused_tensors, state, value):
        state["operations.1.F.conv1.weight"][0, 0, 0, 0] = value
        refused_tensors(state, r"operations\.1\.F\.conv1\.weight")


class TestIsNoStateDict:
    @pytest.mark.parametrize(
        "content",
        [
            [torch.zeros(1)],
            torch.zeros(3),
            7,
            {"state_dict": {"a": torch.zeros(1)}, "epoch": 3},
            {"a": None},
            {0: torch.zeros(1)},
            {("a", "b"): torch.zeros(1)},
        ],
        ids=["list", "tensor", "number", "nested", "none", "number as name", "tuple as name"],
    )
    def test_other_content(self, tmp_path, content):
        path = tmp_path / "other.pth"
        torch.save(content, path)
        refused(path, "holds values other than named tensors")

    @pytest.mark.parametrize(
        "odd",
        [torch.zeros(12, 1, 2, 2, dtype=torch.complex64), torch.zeros(12, 1, 2, 2).to_sparse()],
        ids=["complex", "sparse"],
    )
    def test_odd_tensors(self, tmp_path, state, odd):
        state["operations.0.haar_weights"] = odd
        path = tmp_path / "odd.pth"
        torch.save(state, path)
        refused(path)


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


class TestExecutesNothing:
    def test_the_trap_works(self, tmp_path):
        # Guards the tests below: an ordinary unpickling springs it.
        pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
        assert (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("suffix", ["pth", "pt", "safetensors", "bin"])
    @pytest.mark.parametrize("kind", ["new format", "old format", "bare pickle"])
    def test_a_pickle_that_would_execute_code(self, tmp_path, suffix, kind):
        path, marker = tmp_path / f"trap.{suffix}", tmp_path / "sprung"
        content = {"operations.0.haar_weights": torch.zeros(12, 1, 2, 2), "extra": Trap(marker)}
        if kind == "bare pickle":
            path.write_bytes(pickle.dumps(Trap(marker)))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=kind == "new format")
        refused(path, "cannot be read as weights")
        assert not marker.exists()


class TestIsDamaged:
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
    def test_truncated(self, tmp_path, state, suffix, share):
        whole = tmp_path / f"whole.{suffix}"
        torch.save(state, whole) if suffix == "pth" else save_file(state, whole)
        content = whole.read_bytes()
        path = tmp_path / f"part.{suffix}"
        path.write_bytes(content[: int(len(content) * share)])
        refused(path, "cannot be read as weights")

    @pytest.mark.parametrize("suffix", ["pth", "safetensors", "txt"])
    @pytest.mark.parametrize(
        "content",
        [
            b"These are no weights.\n",
            "Gewichte: größer\n".encode("utf-16"),
            b"\x89PNG\r\n\x1a\n" + bytes(64),
            b"{}",
            b"\x00" * 100,
        ],
        ids=["text", "utf-16", "picture", "json", "zeros"],
    )
    def test_other_file(self, tmp_path, suffix, content):
        path = tmp_path / f"other.{suffix}"
        path.write_bytes(content)
        refused(path, "cannot be read as weights")

    def test_an_archive_of_other_things(self, tmp_path):
        path = tmp_path / "archive.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
        refused(path, "cannot be read as weights")

    def test_a_numpy_file(self, tmp_path):
        path = tmp_path / "arrays.pth"
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))
        refused(path)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_flipped_bytes_never_end_in_another_error(self, tmp_path, data):
        buffer = io.BytesIO()
        torch.save({"a": torch.zeros(2), "b": torch.ones(1)}, buffer, _use_new_zipfile_serialization=False)
        content = bytearray(buffer.getvalue())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path / "flipped.pth"
        path.write_bytes(content)
        refused(path)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        opcodes=st.lists(
            st.sampled_from([*b"().0124:GIJKLMNRSTUVXabcdefghijlopqrstu}]\x80\x81\x82\x85\x8c\x93\x94\x95"]),
            max_size=12,
        ),
        tail=st.binary(max_size=12),
    )
    def test_random_pickles_never_end_in_another_error(self, tmp_path, opcodes, tail):
        path = tmp_path / "random.pth"
        path.write_bytes(b"\x80\x02" + bytes(opcodes) + tail + b".")
        refused(path)

    def test_no_such_file(self, tmp_path):
        refused(tmp_path / "absent.pth", "no such weights file")

    def test_a_folder(self, tmp_path):
        refused(tmp_path, "no such weights file")
