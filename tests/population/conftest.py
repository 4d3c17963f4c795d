"""Models that no bundled one stands for: saturable elimination, and a chain that the fast linear solver cannot do."""

import pytest

from pbpk.model.load import load_model

SATURABLE = """
from pbpk.model import OUT, Block, Compartment, amount, conc, first_order, flow, flux, observe, saturable

depot, central = Compartment("depot", "mg"), Compartment("central", "mg", volume="V")
tissue = Compartment("tissue", "mg", volume="VT")
model = Block(
    (depot, central, tissue),
    (
        flux(depot >> central, first_order, a=amount(depot), k="KA"),
        flux(central >> tissue, flow, c=conc(central), q="Q"),
        flux(tissue >> central, flow, c=conc(tissue), q="Q"),
        flux(central >> OUT, saturable, c=conc(central), vmax="VM", km="KM"),
    ),
    observables=(observe("cp", conc(central), "plasma concentration"),),
    routes={"iv": central, "oral": depot},
)
"""
CHAIN = """
from pbpk.model import OUT, Block, Compartment, amount, first_order, flux

links = [Compartment(f"c{i}", "mg") for i in range(20)]
arrows = zip(links, [*links[1:], OUT])
model = Block(tuple(links), tuple(flux(a >> b, first_order, a=amount(a), k="K") for a, b in arrows))
"""


def write(folder, structure, **rows):
    folder.mkdir()
    (folder / "structure.py").write_text(structure)
    tail = 'about = "a number", source = "assumed: for a test", status = "assumed"'
    spread = ', spread = { distribution = "lognormal", cv = 0.3, source = "assumed: for a test" }'
    text = [f'{n} = {{ value = {v}, unit = "{u}", {tail}{spread} }}\n' for n, (v, u) in rows.items()]
    (folder / "parameters.toml").write_text("".join(text))
    return load_model(folder)


@pytest.fixture(scope="session")
def saturable(tmp_path_factory):
    values = {"KA": (1.2, "1/h"), "V": (5.0, "L"), "VT": (12.0, "L"), "Q": (3.0, "L/h"), "VM": (9.0, "mg/h")}
    return write(tmp_path_factory.mktemp("models") / "saturable", SATURABLE, **values, KM=(0.5, "mg/L"))


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "chain", CHAIN, K=(2.0, "1/h"))
