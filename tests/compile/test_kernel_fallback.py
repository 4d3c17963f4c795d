"""Engines: which one is asked for, and what happens where it cannot be. The whole file also passes without llvmlite
(`pytest --without llvmlite`), as .ci/run has it."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pbpk
from pbpk.compile import engine
from pbpk.compile.xla import jit
from pbpk.errors import MissingExtra, WrongUsage
from pbpk.model import OUT, Block, Compartment, conc, flux, saturable
from pbpk.model.system import build_system
from pbpk.population.workers import WorkerPool
from pbpk.solve.choose import choose_solver
from pbpk.solve.contour import Contour
from pbpk.solve.general import General
from pbpk.solve.resolvent import Resolvent
from pbpk.solve.rosenbrock import Rosenbrock

ROOT = Path(__file__).resolve().parents[2]
MODEL = pbpk.load_model("oral_one_compartment")
DOSE, TIMES = pbpk.dose("100 mg", into="oral"), [1.0, 4.0, 12.0]
HIDDEN = "import sys; sys.modules['llvmlite'] = None\n"
ONCE = ("--dose", "10 mg oral", "--times", "1 h")
FLOAT64 = np.dtype(np.float64)

body = Compartment("body", "mg", volume="V")
NONLINEAR = build_system(Block((body,), (flux(body >> OUT, saturable, c=conc(body), vmax="VM", km="KM"),)))


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch):
    monkeypatch.delenv("PBPK_ENGINE", raising=False)


def command(*words, hidden=False, **env):
    """`pbpk words` in a process of its own, without llvmlite where `hidden`."""
    code = (HIDDEN if hidden else "") + "from pbpk.commands import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "oral_one_compartment", *ONCE),
        ("fit", "theophylline"),
        ("dosimetry", "iodide", "--nuclide", "I-131"),
    ],
)
@pytest.mark.parametrize("how", ["option", "environment"])
def test_an_engine_that_is_not_one_is_wrong_usage(words, how, tmp_path):
    asked = ("--engine", "nonsense") if how == "option" else ()
    env = {"PBPK_ENGINE": "nonsense"} if how == "environment" else {}
    done = command(*words, *asked, **env)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "error: no engine `nonsense`\n  PBPK_ENGINE or --engine names it\n  hint: one of kernel, jax, diffrax\n"
    )
    assert done.stdout == ""


@pytest.mark.parametrize("words", [("simulate", "oral_one_compartment", *ONCE), ("fit", "theophylline")])
def test_kernels_without_llvmlite_are_a_missing_extra(words):
    done = command(*words, hidden=True, PBPK_ENGINE="kernel")
    assert done.returncode == 4, done.stderr
    assert done.stderr == (
        "error: kernels are off\n  llvmlite is not installed (pip install 'pbpk[kernel]')\n"
        "  hint: the JAX engine does the same, slower\n"
    )


def test_without_llvmlite_the_rest_works_and_says_nothing():
    done = command("simulate", "oral_one_compartment", *ONCE, "--json", hidden=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert '"solver": "resolvent"' in done.stdout


def test_who_asks_inside_a_program_is_told_too(monkeypatch):
    monkeypatch.setattr(jit, "explain_no_jit", lambda: "llvmlite is not installed")
    with pytest.raises(MissingExtra, match="kernels are off"), engine.using_engine("kernel"):
        pass
    with pytest.raises(WrongUsage, match="no engine `fast`"), engine.using_engine("fast"):
        pass
    monkeypatch.setenv("PBPK_ENGINE", "kernel")
    with pytest.raises(MissingExtra, match="kernels are off"):
        choose_solver(MODEL.system)
    assert engine._asked.value is None


def test_the_engine_diffrax_is_the_general_solver():
    with engine.using_engine("diffrax"):
        assert choose_solver(MODEL.system) == choose_solver(NONLINEAR, "auto") == General()
        assert choose_solver(MODEL.system, "contour") == Contour()  # a name says more
        assert not engine.use_kernels(FLOAT64)
    with engine.using_engine("jax"):
        assert choose_solver(MODEL.system) == Resolvent()
        assert choose_solver(NONLINEAR) == Rosenbrock()
        assert not engine.use_kernels(FLOAT64)


def test_kernels_are_for_float64_on_a_processor(monkeypatch):
    assert engine.use_kernels(FLOAT64) == (jit.explain_no_jit() == "")
    assert not engine.use_kernels(np.dtype(np.float32))
    monkeypatch.setattr(engine, "_platform", lambda: "tpu")
    assert not engine.use_kernels(FLOAT64)


def test_an_unknown_frame_is_told_once_and_costs_the_kernels_alone(monkeypatch):
    monkeypatch.setattr(jit, "explain_no_jit", lambda: "this jaxlib's FFI is not the one that kernels are written for")
    engine._are_possible.cache_clear()
    with pytest.warns(UserWarning, match="compiled kernels are off: this jaxlib's FFI"):
        assert not engine.use_kernels(FLOAT64)
    assert not engine.use_kernels(FLOAT64)  # a second warning would be an error
    engine._are_possible.cache_clear()


def test_what_was_compiled_for_one_engine_is_not_run_for_another():
    seen = []

    @jax.jit
    def inner(x):
        seen.append(engine.requested_engine())
        return x + 1

    outer = jax.jit(lambda x: jax.lax.fori_loop(0, 2, lambda i, y: inner(y), x))
    for f in (inner, outer):
        for name in (None, "jax", "diffrax", None, "jax"):
            with engine.using_engine(name):
                f(jnp.asarray(1.0))
    assert seen == [None, "jax", "diffrax"]
    with engine.using_engine("jax"), engine.using_engine(None):
        assert engine.requested_engine() == "jax"


def test_engines_agree_and_the_library_takes_their_names():
    """JAX's is the reference; kernels where they can be; a name that is none is refused."""
    names = ["jax", "diffrax", *([] if jit.explain_no_jit() else ["kernel"])]
    found = {name: pbpk.simulate(MODEL, DOSE, TIMES, engine=name) for name in names}
    for name in names[1:]:
        np.testing.assert_allclose(found[name]["cp"], found["jax"]["cp"], rtol=1e-7, err_msg=name)
    assert not np.array_equal(found["diffrax"]["cp"], found["jax"]["cp"])
    with pytest.raises(WrongUsage, match="no engine"):
        pbpk.simulate(MODEL, DOSE, TIMES, engine="fast")  # type: ignore[arg-type]
    with pytest.raises(WrongUsage, match="no engine"):
        pbpk.fit("theophylline", engine="fast")  # type: ignore[operator]
    iodide = pbpk.load_model("iodide", nuclide="I-131")
    with pytest.raises(WrongUsage, match="no engine"):
        pbpk.absorbed_dose(iodide, engine="fast")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_fit_by_the_jax_engine():
    fit = pbpk.fit("theophylline", engine="jax")  # type: ignore[operator]
    assert abs(fit.ofv - 116.803413) < 1e-5


def test_workers_are_told_the_engine():
    farm = WorkerPool(MODEL, 2, "jax")
    with farm:
        assert farm.pool.submit(os.getenv, "PBPK_ENGINE").result(60) == "jax"
