"""Checkpoints: what becomes the head, and that the rest is kept bit for bit."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel, AutoModelForMaskedLM, XLNetConfig, XLNetModel

import tiny
from alike import spread
from headstart.errors import ModelError
from headstart.models.backbone import SplitModel, tensor_bytes
from headstart.models.checkpoints.loading import (
    load_classifier,
    load_saved,
    load_tokenizer,
    positions,
)
from headstart.models.checkpoints.saving import save_classifier
from headstart.models.head_choice import Target
from headstart.models.heads import EncoderClassifier

WEIGHTS = "model.safetensors"
TWO, THREE = Target(("no", "yes")), Target(("a", "b", "c"))
LIKE_ROBERTA = {"classifier.dense", "classifier.out_proj"}
HEADS = {
    "bert": {"classifier"},
    "albert": {"classifier"},
    "distilbert": {"pre_classifier", "classifier"},
    "deberta-v2": {"pooler.dense", "classifier"},
    "modernbert": {"head.dense", "head.norm", "classifier"},
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "electra", "mpnet"), LIKE_ROBERTA),
}


def modules(split: SplitModel) -> set[str]:
    return {name.rsplit(".", 1)[0] for name in split.head}


def same_head(left: SplitModel, right: SplitModel) -> bool:
    other = right.head_state()
    return all(torch.equal(tensor, other[name]) for name, tensor in left.head_state().items())


def random_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_head_is_what_the_checkpoint_lacks(
    family: str, checkpoint: Callable[..., Path]
) -> None:
    assert HEADS.keys() == set(tiny.FAMILIES)
    split = load_classifier(str(checkpoint(family)), THREE)
    assert modules(split) == HEADS[family]
    assert split.fingerprint() == SplitModel(tiny.build(family)).fingerprint()
    assert split.model(**tiny.batch()).logits.shape == (4, 3)
    assert split.model.training
    assert all(p.dtype == torch.float32 for p in split.model.parameters())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_one_seed_is_one_head_and_the_global_generators_stand_still(
    family: str, checkpoint: Callable[..., Path]
) -> None:
    source = str(checkpoint(family))
    torch.manual_seed(5)
    before = random_states()
    first = load_classifier(source, TWO, seed=1)
    assert random_states() == before
    torch.manual_seed(6)
    assert same_head(load_classifier(source, TWO, seed=1), first)
    other = load_classifier(source, TWO, seed=2)
    assert not same_head(other, first)
    assert other.fingerprint() == first.fingerprint()


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_head_of_ours_follows_the_seed_too(head: str, checkpoint: Callable[..., Path]) -> None:
    def load(seed: int) -> SplitModel:
        return load_classifier(str(checkpoint()), TWO, head=head, seed=seed)

    assert same_head(load(1), load(1))
    assert not same_head(load(1), load(2))


@pytest.mark.parametrize(("family", "pooler"), [("bert", "pooler.dense"), ("albert", "pooler")])
def test_a_pooler_that_the_checkpoint_lacks_belongs_to_the_head(
    family: str, pooler: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint(family), tmp_path / family))
    tensors = load_file(folder / WEIGHTS)
    kept = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    assert len(kept) == len(tensors) - 2
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
    split = load_classifier(str(folder), TWO, seed=1)
    assert modules(split) == {"classifier", f"{split.prefix}.{pooler}"}
    assert not [name for name in split.backbone if "pooler" in name]
    assert same_head(load_classifier(str(folder), TWO, seed=1), split)
    with pytest.raises(ModelError, match="pooler"):
        load_saved(str(folder))


@pytest.mark.parametrize(
    ("family", "target"), spread(itertools.product(tiny.FAMILIES, [TWO, THREE]), times=1)
)
def test_a_head_in_the_checkpoint_is_left_for_one_of_the_seed(
    family: str, target: Target, checkpoint: Callable[..., Path]
) -> None:
    """Bit for bit the head that the same backbone gets without one."""
    source = str(checkpoint(family, head=True))
    split = load_classifier(source, target, seed=9)
    bare = load_classifier(str(checkpoint(family)), target, seed=9)
    assert (split.unused_head, bare.unused_head) == (source, "")
    assert modules(split) == HEADS[family]
    assert same_head(split, bare)
    assert split.fingerprint() == bare.fingerprint() == SplitModel(tiny.build(family)).fingerprint()
    assert not same_head(split, load_classifier(source, target, seed=10))
    assert same_head(load_saved(source)[0], SplitModel(tiny.build(family)))


def test_what_pretraining_left_between_encoder_and_output_stays(tmp_path: Path) -> None:
    """ModernBERT's head has layers of the masked language model's below a new output."""
    config = tiny.build("modernbert").config
    pretrained: Any = AutoModelForMaskedLM.from_config(config)
    pretrained.head.dense.weight.data.normal_()
    pretrained.save_pretrained(tmp_path)
    split = load_classifier(str(tmp_path), TWO, seed=1)
    assert modules(split) == HEADS["modernbert"]
    assert torch.equal(split.head["head.dense.weight"], pretrained.head.dense.weight)
    assert not split.unused_head


def test_a_fine_tuned_pooler_is_backbone_and_stays(checkpoint: Callable[..., Path]) -> None:
    source = checkpoint(head=True)
    stored = load_file(source / WEIGHTS)
    for seed in (1, 2):
        split = load_classifier(str(source), TWO, seed=seed)
        for name in ("bert.pooler.dense.weight", "bert.pooler.dense.bias"):
            assert torch.equal(split.backbone[name], stored[name])


@pytest.mark.parametrize("head", ["native", "linear"])
def test_a_head_of_ours_beside_the_backbone_is_not_used_unasked(
    head: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    first = load_classifier(str(checkpoint()), TWO, head="linear", seed=1)
    save_classifier(first, TWO, tiny.tokenizer(), tmp_path / "model", "card")
    again = load_classifier(str(tmp_path / "model"), TWO, head=head, seed=2)
    assert again.unused_head == str(tmp_path / "model")
    assert head == "native" or not same_head(again, first)
    assert not first.unused_head


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_multiple_choice(family: str, checkpoint: Callable[..., Path]) -> None:
    split = load_classifier(str(checkpoint(family)), Target(("0", "1"), "choice"))
    batch = tiny.batch(choices=2)
    assert split.model(**batch).logits.shape == (4, 2)
    own = load_classifier(str(checkpoint(family)), Target(("0", "1"), "choice"), head="mlp")
    assert own.model(**batch).logits.shape == (4, 2)


def test_labels_and_kind_of_problem_go_into_the_config(checkpoint: Callable[..., Path]) -> None:
    config: Any = load_classifier(str(checkpoint()), THREE).model.config
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert config.label2id == {"a": 0, "b": 1, "c": 2}
    assert (config.num_labels, config.problem_type) == (3, "single_label_classification")
    number = load_classifier(str(checkpoint()), Target(()))
    config = number.model.config
    assert (config.num_labels, config.problem_type) == (1, "regression")
    assert number.model(**tiny.batch()).logits.shape == (4, 1)
    assert [Target(()).outputs, TWO.outputs, Target(("0", "1"), "choice").outputs] == [1, 2, 1]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_dropout_is_overridden_everywhere(family: str, checkpoint: Callable[..., Path]) -> None:
    for rate in (0.3, 0.0):
        model = load_classifier(str(checkpoint(family)), TWO, dropout=rate).model
        # DeBERTa has a dropout class of its own.
        found = [getattr(m, "p", getattr(m, "drop_prob", None)) for m in model.modules()
                 if "Dropout" in type(m).__name__]  # fmt: skip
        assert len(found) >= 2
        assert set(found) == {rate}
        torch.manual_seed(0)
        first, second = (model(**tiny.batch()).logits for _ in range(2))
        assert torch.equal(first, second) == (rate == 0)
    own = load_classifier(str(checkpoint(family)), TWO, head="linear", dropout=0.3)
    assert isinstance(own.model, EncoderClassifier)
    assert own.model.head.dropout.p == 0.3


def test_half_precision_weights_are_loaded_as_fp32(tmp_path: Path) -> None:
    model: Any = tiny.build("bert").to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / WEIGHTS)["classifier.bias"].dtype == torch.bfloat16
    stored = dict(model.named_parameters())
    classifier, saved = load_classifier(str(tmp_path), TWO), load_saved(str(tmp_path))[0]
    for split, read in ((classifier, classifier.backbone), (saved, dict(stored))):
        assert {p.dtype for p in split.model.parameters()} == {torch.float32}
        found = dict(split.model.named_parameters())
        assert all(torch.equal(found[name], stored[name].float()) for name in read)


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_our_heads_sit_on_any_backbone(head: str, checkpoint: Callable[..., Path]) -> None:
    for family in tiny.FAMILIES:
        split = load_classifier(str(checkpoint(family)), TWO, head=head)
        assert all(name.startswith("head.") for name in split.head)
        assert all(name.startswith("backbone.") for name in split.backbone)
        assert not [name for name in split.backbone if "pooler" in name]
        states = AutoModel.from_pretrained(checkpoint(family)).eval()(**tiny.batch())
        logits = split.model.eval()(**tiny.batch()).logits
        torch.testing.assert_close(split.model.head(states.last_hidden_state), logits)  # type: ignore[operator]


def test_targets_need_a_head_of_ours(checkpoint: Callable[..., Path]) -> None:
    split = load_classifier(str(checkpoint()), Target(("no", "yes"), spans=2))
    assert isinstance(split.model, EncoderClassifier)
    assert (split.model.head.spec.kind, split.model.head.spec.spans) == ("span", 2)


def test_a_finished_classifier_tells_what_it_predicts(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    for target in (THREE, Target(()), Target(("0", "1"), "choice")):
        model: Any = load_classifier(str(checkpoint()), target).model
        folder = tmp_path / f"{target.kind}{len(target.labels)}"
        model.save_pretrained(folder)
        split, found = load_saved(str(folder))
        assert found == target
        assert not split.model.training
        assert all(
            torch.equal(model.state_dict()[n], t) for n, t in split.model.state_dict().items()
        )


def test_a_backbone_alone_is_no_finished_classifier(checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="a checkpoint with a trained head"):
        load_saved(str(checkpoint()))


def test_the_bytes_of_a_backbone_are_those_of_the_file(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    for head in ("native", "linear"):
        split = load_classifier(str(folder), TWO, head=head)
        for name, parameter in split.backbone.items():
            stored = tensors[name.removeprefix(f"{split.prefix}.")]
            assert tensor_bytes(parameter) == tensor_bytes(stored)
            assert isinstance(parameter, nn.Parameter)


def test_no_limit_of_positions_is_none(tmp_path: Path) -> None:
    config = XLNetConfig(
        vocab_size=tiny.VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=48, pad_token_id=1
    )
    model: Any = XLNetModel(config)
    model.save_pretrained(tmp_path)
    assert positions(load_classifier(str(tmp_path), TWO)) is None


def test_a_regression_that_could_not_be_saved_is_refused_before_it_trains(
    gpt2: Path,
) -> None:
    assert load_classifier(str(gpt2), TWO).head
    with pytest.raises(ModelError, match="a linear map with one output and a bias") as error:
        load_classifier(str(gpt2), Target(()))
    assert error.value.fix == "Predict numbers with an encoder."


def test_labels_that_the_config_does_not_name_get_the_usual_names(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint(head=True), tmp_path / "bert"))
    record = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(record | {"id2label": {"1": "a", "2": "b"}}))
    assert load_saved(str(folder))[1].labels == ("LABEL_0", "a")


def test_the_tokenizer_is_found_where_the_model_is(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "x") and (tmp_path / "run").mkdir()
    (tmp_path / "x").rename(tmp_path / "run" / "model")
    assert len(load_tokenizer(str(tmp_path / "run"), tiny.VOCABULARY)) == len(tiny.tokenizer())


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("lead", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_wrappers_name_in_front_of_all_others_is_taken_off(
    lead: str, head: bool, tmp_path: Path
) -> None:
    plain = tiny.save_pretrained("roberta", tmp_path / "plain", head=head)
    wrapped = tiny.save_pretrained("roberta", tmp_path / "wrapped", head=head)
    file = wrapped / "model.safetensors"
    named = {f"{lead}{name}": tensor for name, tensor in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})
    ours, theirs = (load_classifier(str(f), TWO, seed=3) for f in (wrapped, plain))
    assert ours.fingerprint() == theirs.fingerprint()
    assert ours.head.keys() == theirs.head.keys()
    assert all(torch.equal(p, theirs.head[name]) for name, p in ours.head.items())
    assert bool(ours.unused_head) == head
    save_classifier(ours, TWO, tiny.tokenizer("roberta"), tmp_path / "saved", "card")
    names = set(load_file(tmp_path / "saved" / "model.safetensors"))
    assert names == set(ours.model.state_dict())


def test_other_names_are_not_taken_for_a_wrappers(tmp_path: Path) -> None:
    folder = tiny.save_pretrained("roberta", tmp_path / "model")
    file = folder / "model.safetensors"
    named = {f"modules.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(named, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="belong together"):
        load_classifier(str(folder), TWO)
