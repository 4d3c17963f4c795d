"""Organs as blocks: each loads in a model of its own, and loses nothing."""

import jax.numpy as jnp
import numpy as np
import pytest

from pbpk.errors import BadInput
from pbpk.model import OUT, Block, Compartment, alimentary_tract, perfused_organ, physical_decay, transfer
from pbpk.model.check import check_model
from pbpk.model.system import build_system

blood = Compartment("blood", "mg", volume="blood.V")
kidney_rows = {"blood.V": "5 L", "kidney.V": "0.3 L", "kidney.Q": "1.1 L/min", "kidney.Kp": "2.5"}


def sum_of_changes(system, table, seed=0):
    y = np.random.default_rng(seed).uniform(0.5, 2.0, len(system.names))
    p = jnp.array([table[n].internal for n in system.parameter_names])
    return float(jnp.sum(system.vector_field(0.0, jnp.array(y), p))), y, p


def test_perfused_organ_keeps_what_flows_through_it(table):
    block = perfused_organ("kidney", blood)
    rows = table(kidney_rows)
    assert check_model(block, rows) == []
    system = build_system(block)
    change, y, p = sum_of_changes(system, rows)
    assert change == pytest.approx(0.0, abs=1e-12)
    q = 66.0  # 1.1 L/min in L/h
    expected = q * y[0] / 5.0 - q * y[1] / 0.3 / 2.5
    assert system.vector_field(0.0, jnp.array(y), p)[1] == pytest.approx(expected, rel=1e-13)


def test_perfused_organ_settles_at_its_partition_coefficient(table):
    system, rows = build_system(perfused_organ("kidney", blood)), table(kidney_rows)
    p = jnp.array([rows[n].internal for n in system.parameter_names])
    level = jnp.array([5.0, 2.5 * 0.3])  # blood at 1 mg/L, the organ at Kp times that
    np.testing.assert_allclose(system.vector_field(0.0, level, p), 0.0, atol=1e-12)


def test_two_organs_share_the_blood():
    block = perfused_organ("kidney", blood) + perfused_organ("liver", blood)
    assert [c.name for c in block.compartments] == ["blood", "kidney", "liver"]


def test_alimentary_tract_delivers_everything_to_blood_or_faeces(table):
    block = alimentary_tract(blood, "mg")
    names = {b for f in block.fluxes for _, b in f.bindings if isinstance(b, str)}
    rows = table(dict.fromkeys(names, "3 1/d"), **{"blood.V": "5 L"})
    remarks = check_model(block + Block((blood,)), rows)
    assert remarks == []
    system = build_system(block + Block((blood,)))
    assert sum_of_changes(system, rows)[0] == pytest.approx(0.0, abs=1e-12)
    ends = set(system.names) - {f.path.source.name for f in system.fluxes}
    assert ends == {"blood", "faeces"}
    assert block.routes["oral"].name == "oral_cavity"


def test_physical_decay_takes_the_same_fraction_of_each(table):
    liver, gone = Compartment("liver", "MBq"), Compartment("gone", "MBq")
    whole = Compartment("whole", "MBq")
    block = Block((liver, whole, gone), physical_decay(liver, whole, into=gone))
    rows = table({"decay.k": "0.1 1/h"})
    check_model(block, rows)
    system = build_system(block)
    y = jnp.array([3.0, 7.0, 0.0])
    np.testing.assert_allclose(system.vector_field(0.0, y, jnp.array([0.1])), [-0.3, -0.7, 1.0], rtol=1e-14)


def test_physical_decay_leaves_the_model_unless_told_otherwise():
    assert [f.path.target for f in physical_decay(blood)] == [OUT]


def test_transfer_names_its_own_row():
    gut = Compartment("gut", "mg")
    assert dict(transfer(gut, blood, "iodine").bindings)["k"] == "iodine.gut_to_blood"


def test_a_missing_row_is_named_with_the_modellers_line_not_the_organs(table):
    rows = dict(kidney_rows)
    del rows["kidney.Kp"]
    with pytest.raises(BadInput) as caught:
        check_model(perfused_organ("kidney", blood), table(rows, KP="1"))
    assert caught.value.exit_code == 3
    assert "no parameter `kidney.Kp`" in caught.value.what
    assert "test_organs.py:" in caught.value.where
