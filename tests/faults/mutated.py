"""Replace, remove or repeat something at a random place in a value."""

import os
import random
from typing import Any

import torch

SEED = int(os.environ.get("IMGREC_FUZZ_SEED", "0"))  # other seeds, other inputs
_ODD: list[Any] = [
    *(None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), "x", "\x1b[2J\n", "9" * 5000, "${oc.env:HOME}"),
    *([], {}, [[]], {"a": {"b": None}}, [None] * 3),
]


def mutated(value: Any, draws: random.Random, *, tensors: bool = False) -> Any:
    """The value, changed at one place. tensors: whether tensors may take the place of something, and be changed."""
    if draws.random() < 0.1 or not isinstance(value, (dict, list)) or not value:
        return _other(value, draws) if tensors else draws.choice(_ODD)
    if isinstance(value, dict):
        key = draws.choice(list(value))
        if draws.random() < 0.15:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: mutated(value[key], draws, tensors=tensors)}
    k = draws.randrange(len(value))
    if draws.random() < 0.15:
        return [*value[:k], *[value[k]] * draws.choice([0, 2]), *value[k + 1 :]]
    return [*value[:k], mutated(value[k], draws, tensors=tensors), *value[k + 1 :]]


def _other(value: Any, draws: random.Random) -> Any:
    if isinstance(value, torch.Tensor) and draws.random() < 0.8:
        return draws.choice(
            [
                value[:0] if value.ndim else value.reshape(1),
                torch.cat([value.reshape(-1), value.reshape(-1)]),
                value.reshape(-1)[:-1].clone(),
                value.unsqueeze(0),
                value.double() if value.is_floating_point() else value.float(),
                value.to(torch.bool),
                value.to(torch.complex64),
                value.to_sparse(),
                torch.full_like(value, 255)
                if not value.is_floating_point()
                else value.new_full(value.shape, torch.nan),
            ]
        )
    return draws.choice([*_ODD, torch.zeros(3), torch.tensor(1), torch.zeros(2, 2, dtype=torch.bool)])
