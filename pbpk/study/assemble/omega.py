"""`[omega]` of a fit.toml: the blocks of random effects that correlate, with their initial variances and covariances."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.likelihood.parameter_layout import OmegaBlock
from pbpk.study.assemble.natural import NaturalEntry

if TYPE_CHECKING:
    from pbpk.model.load import Model
    from pbpk.population.individual import IndividualModel
    from pbpk.study.schema import StudySpec


def build_omega(
    spec: StudySpec, model: Model, individual: IndividualModel, where: str
) -> tuple[tuple[OmegaBlock, ...], list[NaturalEntry]]:
    """The blocks of Ω, those of occasions last, and their entries of the natural vector. Raises `BadInput`."""
    between = tuple(v.name for v in individual.varying if v.random)
    within = {v.name: v.occasions for v in individual.varying if v.occasions}
    blocks = _build_blocks(spec.omega.blocks, between, "iiv", spec, where)
    occasions = max(within.values(), default=0)
    blocks += tuple(
        replace(b, occasions=occasions) for b in _build_blocks(spec.omega.iov_blocks, tuple(within), "iov", spec, where)
    )
    size = {
        n: 1.0 if p.distribution != "normal" else units.unit_factor(model.parameters[n].unit)
        for n, p in spec.parameters.items()
    }
    entries = []
    for block in blocks:
        omega, of = _initial_omega(block, spec), " between occasions" if block.occasions else ""
        for i, a in enumerate(block.etas):
            for j, b in enumerate(block.etas[: i + 1]):
                scale = size[a] * size[b]
                unit = "1" if scale == 1.0 else f"({model.parameters[a].unit})**2"
                label = f"variance of η on {a}{of}" if a == b else f"covariance of η on {b} and {a}{of}"
                entries.append(NaturalEntry(omega[i][j] * scale, scale, unit, label))
        _check_definite(block, omega, where)
    return blocks, entries


def _initial_omega(block: OmegaBlock, spec: StudySpec) -> list[list[float]]:
    """The block's initial variances and covariances, as fit.toml gives them."""
    covariances = spec.omega.iov_covariances if block.occasions else spec.omega.covariances

    def read(a: str, b: str) -> float:
        if a == b:
            return (spec.parameters[a].iov if block.occasions else spec.parameters[a].iiv) or 0.0
        return covariances.get(f"{a},{b}", covariances.get(f"{b},{a}", 0.0))

    return [[read(a, b) for b in block.etas] for a in block.etas]


def _check_definite(block: OmegaBlock, omega: list[list[float]], where: str) -> None:
    if np.linalg.eigvalsh(np.array(omega)).min() <= 0:
        raise BadInput(
            f"the initial Ω of {', '.join(block.etas)} is not positive definite",
            where=f"{where}: omega.{'iov_' if block.occasions else ''}covariances",
            why="a covariance is larger than the two variances allow",
            hint="a covariance must stay below the root of the product of its variances",
        )


def _build_blocks(
    requested: list[list[str]], etas: tuple[str, ...], kind: str, spec: StudySpec, where: str
) -> tuple[OmegaBlock, ...]:
    """The requested blocks and one of its own for every other η, in the order of `etas`; `kind` is "iiv" or "iov".

    The members of a block must be neighbours in that order, since a block is a square of Ω.
    """
    block_of: dict[str, list[str]] = {}
    setting = "omega.blocks" if kind == "iiv" else "omega.iov_blocks"
    for block in requested:
        for name in block:
            if name not in etas:
                raise BadInput(f"`{setting}`: {name} has no {kind}", where=where, hint=did_you_mean(name, etas))
            if name in block_of:
                raise BadInput(f"`{setting}`: {name} is in two blocks", where=where)
            block_of[name] = block
    blocks, done = [], set()
    for name in etas:
        if name in done:
            continue
        members = [e for e in etas if e in block_of.get(name, [name])]
        start = etas.index(members[0])
        if etas[start : start + len(members)] != tuple(members):
            raise BadInput(
                f"`{setting}`: {', '.join(members)} must be neighbours under [parameters]",
                where=where,
                hint="list the correlated parameters one after another",
            )
        fixed = all(spec.parameters[m].iiv_fixed if kind == "iiv" else spec.parameters[m].iov_fixed for m in members)
        blocks.append(OmegaBlock(tuple(members), fixed))
        done |= set(members)
    return tuple(blocks)
