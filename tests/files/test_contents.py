"""What a reader takes, how much of it, and how it says that something else stands there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headstart.configfile import read_settings
from headstart.errors import ConfigError
from headstart.files.contents import UnreadableError, read_bytes, read_text
from headstart.files.jsonfile import DEEPEST, parse_json, read_table
from headstart.files.schema import as_record
from headstart.files.tensors import parse_array, read_tensors
from headstart.files.yamlfile import load_yaml
from headstart.results import Point


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 2**20)
    assert len(read_bytes(path, 2**20)) == 2**20
    with pytest.raises(UnreadableError, match="larger than 1 MiB"):
        read_bytes(Path("/dev/zero"), 2**20)


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.yaml")
    with pytest.raises(ConfigError, match="holds nothing"):
        read_settings(tmp_path / "run.yaml")
    reading, writing = os.pipe()
    os.write(writing, b"seed: 3\n")
    os.close(writing)
    assert read_settings(Path(f"/dev/fd/{reading}")) == {"seed": 3}
    os.close(reading)


def test_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa4\r\nb\rc")
    assert read_text(path) == "a: ä\nb\nc"
    path.write_bytes(b"\xe4")
    with pytest.raises(UnreadableError, match="no text in UTF-8"):
        read_text(path)
    with pytest.raises(UnreadableError, match="null"):
        read_text(Path("a\0b"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "deeper than 100"),
        ("[" * 50_000, "deeper than 100"), ('{"a":' * 50_000, "deeper than 100"),
        ("9" * 6_000, "no JSON"), (str(2**63), "64 bits"), ("[1, NaN]", "the number nan"),
        ("1e999", "the number inf"), (r'"\ud800"', "surrogate"), (r'{"\ud800": 1}', "surrogate"),
        ("", "no JSON"), ("{", "no JSON"),
    ],
)  # fmt: skip
def test_json_that_no_record_is(text: str, told: str) -> None:
    with pytest.raises(UnreadableError, match=told):
        parse_json(text)


def test_json_as_it_stands(tmp_path: Path) -> None:
    values = {"a": [1, 2.5, None, True, "ä", -(2**63)], "b": {"c": {}}}
    assert parse_json(json.dumps(values)) == parse_json(json.dumps(values).encode()) == values
    assert parse_json("[" * DEEPEST + "1" + "]" * DEEPEST)
    assert parse_json("[1e999]", finite=False) == [float("inf")]
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(UnreadableError, match="no JSON object but a list"):
        read_table(path)


def test_a_field_of_another_type_is_named() -> None:
    assert as_record(Point, {"step": 1, "train_loss": None, "scores": {"a": 1}}).scores == {"a": 1}
    nothing = as_record(Point, {"step": 1, "train_loss": None, "scores": {"a": None}}).scores["a"]
    assert np.isnan(nothing)
    with pytest.raises(UnreadableError, match=r"scores\.a: .*number.* found 'x'"):
        as_record(Point, {"step": 1, "train_loss": None, "scores": {"a": "x"}})
    with pytest.raises(UnreadableError, match="step: field required"):
        as_record(Point, {"train_loss": None, "scores": {}})


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    "data",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 9), }\n"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n", b"x" * 8),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"x" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n", b"x" * 8),
        npy("{'descr': '<U9', 'fortran_order': False, 'shape': (1,), }\n", b"x" * 36),
        npy("(" * 5_000), npy("exit()"), b"", b"PK", b"\x93NUMPY\x09\x00" + bytes(60),
    ],
)  # fmt: skip
def test_an_array_is_measured_before_memory_is_taken(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        parse_array(data)


def test_an_array_and_tensors_as_they_stand(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", values)
    assert np.array_equal(parse_array((tmp_path / "x.npy").read_bytes()), values)
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    assert read_tensors(tmp_path / "x.safetensors")["a"].tolist() == [1, 1]
    with pytest.raises(UnreadableError, match="no safetensors"):
        read_tensors(tmp_path / "x.npy")
    with pytest.raises(UnreadableError, match="no file"):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")


BOMB = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "by aliases of aliases"), ("a: &a [*a]", "by aliases of aliases"),
        ("[" * 9_000, "deeper than 100"), ("- " * 9_000, "deeper than 100"),
        ("a: \x00", "unacceptable character"), ("a: \x1b", "unacceptable character"),
        ("a: 2020-13-45", "month must be in"), ("a: " + "9" * 6_000, "4300 digits"),
        ("a: !!timestamp x", "x.yaml"), ("a: !!int", "x.yaml"), ("a: !!bool x", "x.yaml"),
        ("a: !!set {b, c}", "type set"), ("a: !!binary aGk=", "type bytes"),
        (r'a: "\ud800"', "surrogate"), ("{? [1]: 2}", "unhashable"),
    ],
)  # fmt: skip
def test_yaml_that_no_person_writes(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_yaml(text, "x.yaml")


def test_an_alias_is_fine() -> None:
    assert load_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2020-01-02}", "x")["c"] == {"b": 1}
