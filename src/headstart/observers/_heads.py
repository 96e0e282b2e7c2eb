"""Heads made of other heads, and how far two of them are apart; a head is its tensors by name.

Its *weights* are the tensors of two and more dimensions, its *biases* the vectors: gains and shifts
of norm layers among them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch

from headstart.models.backbone import tensor_bytes
from headstart.training.seeds import stream

Head = dict[str, torch.Tensor]


def joined(weights: Mapping[str, torch.Tensor], biases: Mapping[str, torch.Tensor]) -> Head:
    """Put the weights of one head and the biases of another together."""
    return {n: t if t.ndim > 1 else biases[n] for n, t in weights.items()}


def shuffled(head: Mapping[str, torch.Tensor], seed: int) -> Head:
    """Turn a head's weights into a direction that has learned nothing, everything else kept.

    The inputs of each matrix are permuted, in all rows alike: every row keeps its elements and its
    norm, and the angles between the rows (the classes) stay. Biases stay too.
    """
    made = dict(head)
    for name, tensor in head.items():
        if tensor.ndim > 1:
            rows = tensor.flatten(1)
            generator = torch.Generator().manual_seed(stream(seed, name))
            order = torch.randperm(rows.shape[1], generator=generator)
            made[name] = rows[:, order].reshape(tensor.shape)
    return made


def rescaled(head: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> Head:
    """Give each matrix of a head the Frobenius norm that it has in another.

    The bias of a matrix is scaled with it, so that a linear head decides as before, less or more
    surely. Other vectors stay.
    """
    made = dict(head)
    for name, tensor in head.items():
        size = float(tensor.norm())
        if tensor.ndim > 1 and size:
            factor = float(like[name].norm()) / size
            made[name] = tensor * factor
            bias = name.removesuffix("weight") + "bias"
            if bias in head:
                made[bias] = head[bias] * factor
    return made


def last_weight(head: Mapping[str, torch.Tensor]) -> str:
    """Return the name of the matrix that gives the outputs: the last one."""
    return [name for name, tensor in head.items() if tensor.ndim > 1][-1]


def norm(head: Mapping[str, torch.Tensor]) -> float:
    """Return the Frobenius norm of all tensors together."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in head.values()))


def cosine(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """Return the cosine between two heads, each as one long vector; 0 where one of them is 0."""
    product = sum(float((t.double() * other[name].double()).sum()) for name, t in one.items())
    size = norm(one) * norm(other)
    return product / size if size else 0.0


def fingerprint(head: Mapping[str, torch.Tensor]) -> str:
    """Return a digest of a head's exact bits: ``sha256:`` and 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(head):
        digest.update(f"{name}|{head[name].dtype}|{tuple(head[name].shape)}|".encode())
        digest.update(tensor_bytes(head[name]))
    return f"sha256:{digest.hexdigest()[:32]}"
