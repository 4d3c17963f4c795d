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
