"""YAML is read as PyYAML reads it, except that a key which stands twice is refused."""

from __future__ import annotations

import pytest
import yaml

from headstart.errors import ConfigError, Faults
from headstart.files.yamlfile import load_yaml


@pytest.mark.parametrize("text", ["", "a: 1\nb: [{c: 1}, {c: 2}]\nd: {c: 3}", "[1, x]", "word"])
def test_plain_data_as_it_stands(text: str) -> None:
    assert load_yaml(text, "x.yaml") == yaml.safe_load(text)
    assert load_yaml("label: no", "x.yaml", yaml.BaseLoader) == {"label": "no"}


def test_every_repeated_key_is_named_with_its_lines() -> None:
    with pytest.raises(Faults) as error:
        load_yaml("a: 1\nb: [{c: 1, c: 2}]\na: 3\na: 4", "x.yaml")
    assert [fault.found for fault in error.value.faults] == [
        "'c' in lines 2 and 2 of x.yaml",
        "'a' in lines 1 and 3 of x.yaml",
        "'a' in lines 3 and 4 of x.yaml",
    ]


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object:os.system x", "a: 1\n---\nb: 2"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match=r"a file in YAML; found x\.yaml"):
        load_yaml(text, "x.yaml")
