"""Seeded mutations of small, right inputs: cells, keys, numbers, lines and bytes as hasty hands and odd programs leave them."""

import random

CELLS = [
    *("", ".", "-", "+", "0", "-1", "1e400", "nan", "inf", "-99", "1,5", "<0.3", "BLQ", "M", "001", "9007199254740993"),
    *(
        "1D2",
        "2-1",
        "12:30",
        "2026-01-02",
        "0x10",
        "1_000",
        "١",
        "µ",
        "'",
        '"',
        '"a',
        "a\x00b",
        " 1 ",
        "TRUE",
        "=1+1",
        "%IA",
        "mBq",
    ),
]
TOML = [
    *(
        "nan",
        "inf",
        "-1",
        "0",
        "1e400",
        '""',
        '"x"',
        "[]",
        "{}",
        "true",
        "[1, 2]",
        "1979-05-27",
        "'''a'''",
        '"-1 L"',
        '"3 h/L"',
    ),
    *(
        '"1 mg/L/"',
        '"mol"',
        "[[]]",
        "{ value = 1 }",
        '{ distribution = "lognormal" }',
        "99999999999999999999",
        '"\\u0000"',
    ),
]
HEADERS = ["", "V", "v", "F1", "DUR", "BLQ", "CENS", "C", "ID", "DV", "1", "a b", "é"]
WORDS = [
    "100 mg",
    "oral",
    "iv",
    "at",
    "24 h",
    "every",
    "x",
    "5",
    "over",
    "to",
    "depot",
    ";",
    "-1",
    "nan",
    "1e400",
    "mg/kg",
    "µg",
]


def mutate_table(text: str, rng: random.Random) -> str:
    """A CSV table with one to three of its cells, headers, rows or bytes changed."""
    rows = [line.split(",") for line in text.strip().split("\n")]
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(rows)), rng.randrange(len(rows[0]))
        action = rng.randrange(9)
        if action <= 3 and j < len(rows[i]):
            rows[i][j] = rng.choice(CELLS)
        elif action == 4:
            rows.insert(i, list(rng.choice(rows)))
        elif action == 5 and len(rows) > 1:
            del rows[i]
        elif action == 6:
            rows[i] = [*rows[i][: rng.randrange(len(rows[i]) + 1)], *["x"] * rng.randrange(1, 3)]
        elif action == 7:
            rows = [
                [row[k] if k < len(row) else "" for k in rng.sample(range(len(rows[0])), len(rows[0]))] for row in rows
            ]
        else:
            rows[0][min(j, len(rows[0]) - 1)] = rng.choice(
                ["", "V", "v", "F1", "DUR", "BLQ", "CENS", "C", "ID", "DV", "1", "a b", "é"]
            )
    separator = ";" if rng.random() < 0.03 else ","
    return "\n".join(separator.join(row) for row in rows) + rng.choice(["\n", "", "\r\n", "\n\n", "\n,,\n"])


def mutate_toml(text: str, rng: random.Random) -> str:
    """A TOML file with one to three of its values, keys or lines changed."""
    lines = text.strip().split("\n")
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        key, equals, _ = lines[i].partition("=")
        action = rng.randrange(7)
        if action <= 2 and equals:
            lines[i] = f"{key}= {rng.choice(TOML)}"
        elif action == 3 and len(lines) > 1:
            del lines[i]
        elif action == 4:
            lines.insert(i, rng.choice(lines))
        elif action == 5 and equals:
            lines[i] = f"{key.strip()[::-1] or 'x'} ={lines[i].partition('=')[2]}"
        else:
            lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)] + rng.choice(
                ["", "[", "]", "{", '"', "= 3", "\x00", "é"]
            )
    return "\n".join(lines) + "\n"


def mutate_words(rng: random.Random) -> str:
    """A dose, or a time, in words that may mean nothing."""
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 7)))


def mutate_flags(rng: random.Random) -> list[str]:
    """Flags of `pbpk simulate` with values that may mean nothing; now and then all of them do."""
    dose = rng.choice(["100 mg oral", "100 mg oral every 12 h x 3", mutate_words(rng)])
    times = rng.choice(["1,4", "0:8:4", "1,x", "-1", "", "0:1e9:1", mutate_words(rng)])
    flags = ["--dose", dose, "--times", times]
    values = {
        "--set": ["CL=3", "CL=50 mL/min", "CL=-1", "F1=2", "KA", "=3", "x=1", "CL=nan", "V=1e400", "ALAG1=é"],
        "--vary": ["CL=2|4", "dose=50 mg oral|100 mg iv", "CL=|", "x=1|2", "nuclide=I-131|", "CL=2|2", "option.a=b|c"],
        "--observe": ["cp", "depot", "amount:central", "cp,cp", "x", ",", "", "amount:"],
        "--patients": ["2", "0", "-1", "x", "1e3"],
        "--seed": ["1", "-1", "99999999999999999999", "x"],
        "--void": ["depot at 2 h", "depot every 0 h", "central to central at 1 h", "nowhere at 1 h"],
        "--solver": ["auto", "rodas5p", "none", ""],
        "--precision": ["float32", "float16"],
        "--keep": ["bands", "all"],
        "--out": ["here", "", "a/b/c", "x" * 300, "\x00"],
        "--uncertainty": ["none", "covariance", "?"],
        "--column": ["DV=conc", "DV"],
    }
    for flag in rng.sample(sorted(values), rng.randint(0, 3)):
        flags += [flag, rng.choice(values[flag])]
    return flags + ["--integrate"] * (rng.random() < 0.2) + ["--json"] * (rng.random() < 0.5)


LAW_PIECES = [
    *(
        "a",
        "c",
        "k",
        "t",
        "on",
        "1",
        "0",
        "-1",
        "a / c",
        "exp(-t)",
        "exp(-k * t)",
        "log(a)",
        "sqrt(a * a)",
        "cos(k * t)",
    ),
    *("where(a > 0 * a, k, 0 * k)", "minimum(a, a)", "a ** 2", "a if a > 0 else k", "math.exp(k)", "None", "on * k"),
    *("sin(t)", "maximum(k, on)", "undefined", "'x'", "a[0]", "k / 0", "abs(a)", "max(a, 0)", "t < 5"),
]


def write_laws(rng: random.Random) -> str:
    """A structure.py with a law of pieces that may not go together, in a flux or observed."""
    law = f" {rng.choice('+-*')} ".join(f"({rng.choice(LAW_PIECES)})" for _ in range(rng.randint(1, 3)))
    bound = [
        *("a=amount(central)", "c=conc(central)", 'k="K"', "t=time()", 'on=after("T")'),
    ]
    slips = [
        "a=central",
        "a=total(conc(central))",
        "t=time",
        "k=3",
        'k="X"',
        "t=time_since_dose()",
        "c=amount(central)",
    ]
    if rng.random() < 0.3:
        bound[rng.randrange(5)] = rng.choice(slips)
    in_flux = rng.random() < 0.5
    use = f"mine, {', '.join(bound)}"
    fluxes = f"flux(central >> OUT, {use})," if in_flux else ""
    observed = "" if in_flux else f'observe("x", {use}),'
    return (
        "import math\n"
        "from pbpk.model import *\n"
        "from pbpk.model import OUT, Block, Compartment, after, amount, conc, cos, exp, first_order, flux, log, maximum\n"
        "from pbpk.model import minimum, observe, sin, sqrt, time, time_since_dose, total, where\n"
        'central = Compartment("central", "mg", volume="V")\n'
        f"def mine(a, c, k, t, on):\n    return {law}\n"
        f'model = Block((central,), (flux(central >> OUT, first_order, a=amount(central), k="K"), {fluxes}),\n'
        f'              observables=(observe("cp", conc(central), "concentration"), {observed}), routes={{"iv": central}})\n'
    )


def damage_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file cut short, emptied, or with a few bytes changed."""
    action = rng.randrange(4)
    if action == 0 or not content:
        return b""
    if action == 1:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)
