import pytest

from pbpk.model import (
    OUT,
    Block,
    Compartment,
    amount,
    first_order,
    flux,
    physical_decay,
    zero_order,
)
from pbpk.model.draw import draw_system
from pbpk.model.load import list_models, load_model
from pbpk.model.system import build_system


def cells(*names):
    return tuple(Compartment(n, "mg") for n in names)


def arrow(a, b, k):
    return flux(a >> b, first_order, a=amount(a), k=k)


def drawn(compartments, *fluxes, **routes):
    return draw_system(build_system(Block(tuple(compartments), fluxes, routes=routes)))


def test_one_compartment():
    assert (
        draw_system(load_model("iv_one_compartment").system)
        == """\
┌─────────┐
│ central │
└────┬────┘
     │ CL
     ▼
doses: iv into central"""
    )


def test_a_one_way_arrow():
    assert (
        draw_system(load_model("oral_one_compartment").system)
        == """\
┌───────┐         ┌─────────┐
│ depot ├── KA ──▶│ central │
└───────┘         └────┬────┘
                       │ CL
                       ▼
doses: oral into depot, iv into central"""
    )


def test_exchange():
    assert (
        draw_system(load_model("iv_two_compartment").system)
        == """\
┌─────────┐        ┌────────────┐
│ central ├── Q ──▶│ peripheral │
│         │◀── Q ──┤            │
└────┬────┘        └────────────┘
     │ CL
     ▼
doses: iv into central"""
    )


def test_production_parallel_arrows_and_long_labels():
    a, b = cells("a", "b")
    text = drawn(
        (a, b),
        flux(OUT >> a, zero_order, rate="KIN"),
        arrow(a, b, "K1"),
        arrow(a, b, "K2"),
        arrow(a, OUT, "A_RATHER_LONG_NAME"),
        arrow(b, OUT, "K3"),
    )
    assert (
        text
        == """\
  │ KIN
  ▼
┌───┐                ┌───┐
│ a ├── K1 + K2 ────▶│ b │
└─┬─┘                └─┬─┘
  │ A_RATHER_LONG_NAME │ K3
  ▼                    ▼"""
    )


def test_arrows_that_would_cross_become_a_list():
    a, b, c = cells("a", "b", "c")
    assert (
        drawn((a, b, c), arrow(a, b, "K1"), arrow(a, c, "K2"), flux(OUT >> b, zero_order, rate="R"))
        == """\
── R ─▶ b
┌───┐
│ a │
└─┬─┘
  ├─ K1 ─▶ b
  └─ K2 ─▶ c
┌───┐
│ b │
└───┘
┌───┐
│ c │
└───┘"""
    )


def test_decay_is_one_line():
    a, b, c = cells("a", "b", "c")
    assert drawn((a, b), arrow(a, b, "K"), *physical_decay(a, b)).endswith("\nevery compartment decays (decay.k)")
    most = drawn((a, b, c), *physical_decay(a, b))
    assert most.endswith("\nevery compartment but c decays (decay.k)")
    assert "▶" not in most
    assert drawn((a, b, c), *physical_decay(a)).endswith("\na decays (decay.k)")
    counted = drawn((a, b, c), *physical_decay(a, b, into=c))
    assert counted.endswith("\nevery compartment decays (decay.k) into c")


def test_a_model_of_26_compartments():
    lines = draw_system(load_model("iodide").system).splitlines()
    assert sum(line.startswith("│ ") for line in lines) == 26
    assert "  ├─ iodine.blood_to_thyroid_iodide ─▶ thyroid_iodide" in lines
    assert lines[-2] == "every compartment decays (decay.k) into decayed"
    assert not any("─ decay.k ─" in line for line in lines)


def test_a_row_too_wide_becomes_a_list_and_a_long_label_is_cut():
    a, b = cells("a" * 40, "b" * 40)
    lines = drawn((a, b), arrow(a, b, "K" * 90)).splitlines()
    assert max(map(len, lines)) == 100
    assert any(line.endswith("… ─▶ " + "b" * 40) for line in lines)


@pytest.mark.parametrize("name", list_models())
def test_every_model_fits_the_terminal_and_names_every_arrow(name):
    system = load_model(name).system
    text = draw_system(system)
    assert draw_system(system) == text
    assert all(len(line) <= 100 and line == line.rstrip() for line in text.splitlines())
    for f in system.fluxes:
        for _, binding in f.bindings:
            assert not isinstance(binding, str) or binding in text
