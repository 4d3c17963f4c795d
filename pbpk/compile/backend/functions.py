"""Functions that no backend brings along, on operands: so they vectorise, and no library is called. A backend may have its
own (`register`), as that of derivatives does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from math import factorial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbpk.compile.backend.base import Backend, Operand

_LOWEST, _HIGHEST = -708.0, 709.0  # where eˣ is a normal number
_ROUND = 1.5 * 2.0**52  # adding it leaves the nearest integer in the last bits
_LOG2_E = 1.4426950408889634
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)  # the first has zeros to spare: n times it is exact
_TERMS = 14  # of Taylor's series on |r| ≤ ln 2 / 2: 4e-18


@singledispatch
def exp(m: Backend, x: Operand) -> Operand:
    """eˣ to 1e-15 of itself, 0 below −708, ∞ above 709. With x = n ln 2 + r, eˣ = 2ⁿ eʳ."""
    y = m.larger(_LOWEST, x)
    y = -m.larger(-_HIGHEST, -y)
    power = y * _LOG2_E + _ROUND
    n = power - _ROUND
    r = y - n * _LN2[0] - n * _LN2[1]
    series = r * (1 / factorial(_TERMS - 1)) + 1 / factorial(_TERMS - 2)
    for k in range(_TERMS - 3, -1, -1):
        series = series * r + 1 / factorial(k)
    result = m.choose(_LOWEST - x, 0.0, m.scale(series, power))
    return m.choose(x - _HIGHEST, float("inf"), result) + (y - y)  # NaN stays NaN whatever its bits did to the exponent


_ROOT_2 = 1.4142135623730951
_LN_2PI = 1.8378770664093453
_NORMAL = 2.0**-1022  # the least number that is
_LARGEST = 1.7976931348623157e308
_ODD = 11  # terms of s²/3 + s⁴/5 + … on |s| ≤ 0.1716: 1e-18
_NEAR = 0.35  # of 0, where expm1 is a series


@singledispatch
def log(m: Backend, x: Operand) -> Operand:
    """ln x to 1e-15 of itself, −∞ at 0, NaN below."""
    result = m.compare(x, _LARGEST, x, _log(m, x)[0])
    return m.choose(x, result, m.compare(0.0, x, float("nan"), x * 0.0 - float("inf")))


@singledispatch
def power(m: Backend, x: Operand, y: Operand) -> Operand:
    """xʸ to 2e-15 of itself, as far as `exp` goes; at the ends as C has it, only that a zero has no sign."""
    size, far = m.size(x), m.size(y)
    high, low = _log(m, size)
    # y ln x as one number and what that lacks: of hundreds, the last digits are to be right in their exponential.
    exponent, y_top, top = y * high, m.coarse(y), m.coarse(high)
    y_rest, rest = y - y_top, high - top
    lacks = ((y_top * top - exponent) + y_top * rest + y_rest * top) + y_rest * rest + y * low
    result = exp(m, exponent) * (1.0 + m.compare(800.0, m.size(exponent), lacks, 0.0))
    growing = m.compare(size, 1.0, y, m.compare(1.0, size, -y, 0.0))
    end = m.choose(growing, float("inf"), m.choose(-growing, 0.0, 1.0))
    ended = m.compare(far, 1e300, 1.0, m.compare(size, _LARGEST, 1.0, m.choose(size, 0.0, 1.0)))
    result = m.choose(ended, end, result)
    broken = m.compare(2.0**51, far, m.size(y - _nearest(y)), 0.0)
    odd = m.compare(2.0**51, far, m.size(0.5 * y - _nearest(0.5 * y)), 0.0)
    signed = m.choose(broken, m.compare(size, _LARGEST, result, float("nan")), m.compare(odd, 0.25, -result, result))
    result = m.compare(0.0, x, signed, result)
    known = m.compare(size, -1.0, m.compare(far, -1.0, 1.0, 0.0), 0.0)
    result = m.choose(known, result, float("nan"))
    same = m.compare(x, 1.0, 0.0, m.compare(1.0, x, 0.0, m.compare(size, -1.0, 1.0, 0.0)))
    none = m.compare(far, 0.0, 0.0, m.compare(far, -1.0, 1.0, 0.0))
    return m.choose(same + none, 1.0, result)


@singledispatch
def expm1(m: Backend, x: Operand) -> Operand:
    """eˣ − 1 to 2e-15 of itself."""
    series = x * (1 / factorial(_TERMS + 1)) + 1 / factorial(_TERMS)
    for k in range(_TERMS - 1, 0, -1):
        series = series * x + 1 / factorial(k)
    return m.compare(_NEAR, m.size(x), series * x, exp(m, x) - 1.0)


@singledispatch
def log1p(m: Backend, x: Operand) -> Operand:
    """ln(1 + x) to 2e-15 of itself: the rounding of 1 + x is made good by x over what became of it."""
    u = 1.0 + x
    result = log(m, u)
    kept = m.compare(m.size(u - 1.0), 0.0, result * (x / (u - 1.0)), x)
    return m.compare(u, 1e17, result, kept)


_HALF_PI = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)  # π/2 in three parts
_WAVE_TERMS = 9  # of a Taylor series on |r| ≤ π/4: 2e-17


@singledispatch
def sin(m: Backend, x: Operand) -> Operand:
    """The sine to 2e-16, as far as 1e6 from 0; beyond, the digits that x itself has."""
    sine, cosine, turn = _quarter_wave(m, x)
    result = m.compare(m.size(m.size(turn) - 0.25), 0.1, sine, cosine)
    return m.compare(m.size(turn), 0.4, -result, m.compare(-0.1, turn, -result, result))


@singledispatch
def cos(m: Backend, x: Operand) -> Operand:
    """The cosine, likewise."""
    sine, cosine, turn = _quarter_wave(m, x)
    result = m.compare(m.size(m.size(turn) - 0.25), 0.1, cosine, sine)
    return m.compare(m.size(turn), 0.4, -result, m.compare(turn, 0.1, -result, result))


def _quarter_wave(m: Backend, x: Operand) -> tuple[Operand, Operand, Operand]:
    """sin r and cos r of x = n π/2 + r, |r| ≤ π/4, and n/4 less the nearest integer: 0, ±1/4 or ±1/2."""
    x = m.compare(float("inf"), m.size(x), x, float("nan"))
    n = _nearest(x * (1.0 / (_HALF_PI[0] + _HALF_PI[1])))
    r = ((x - n * _HALF_PI[0]) - n * _HALF_PI[1]) - n * _HALF_PI[2]
    z = r * r
    odd, even = 1.0 / factorial(2 * _WAVE_TERMS + 1), 1.0 / factorial(2 * _WAVE_TERMS)
    for k in range(_WAVE_TERMS - 1, -1, -1):
        odd = 1.0 / factorial(2 * k + 1) - z * odd
        even = 1.0 / factorial(2 * k) - z * even
    return r * odd, even, 0.25 * n - _nearest(0.25 * n)


def tanh(m: Backend, x: Operand) -> Operand:
    """To 3e-15 of itself."""
    size = -m.larger(-22.0, -m.size(x))
    grown = expm1(m, 2.0 * size)
    result = grown / (grown + 2.0)
    return m.compare(0.0, x, -result, result)


# Rational functions of Cephes' ndtr.c (S. L. Moshier, Methods and Programs for Mathematical Functions, 1989), highest power
# first; a leading 1 is left out below. erf on |x| < 1, of x²; erfc on 1 … 8 and beyond, of x.
_ERF = (
    (
        9.60497373987051638749,
        90.0260197203842689217,
        2232.00534594684319226,
        7003.32514112805075473,
        55592.3013010394962768,
    ),
    (
        33.5617141647503099647,
        521.357949780152679795,
        4594.32382970980127987,
        22629.0000613890934246,
        49267.3942608635921086,
    ),
)
_ERFC = (
    (
        *(2.46196981473530512524e-10, 0.564189564831068821977, 7.46321056442269912687, 48.6371970985681366614),
        *(196.520832956077098242, 526.445194995477358631, 934.528527171957607540, 1027.55188689515710272),
        557.535335369399327526,
    ),
    (
        *(13.2281951154744992508, 86.7072140885989742329, 354.937778887819891062, 975.708501743205489753),
        *(1823.90916687909736289, 2246.33760818710981792, 1656.66309194161350182, 557.535340817727675546),
    ),
)
_ERFC_FAR = (
    (
        *(0.564189583547755073984, 1.27536670759978104416, 5.01905042251180477414, 6.16021097993053585195),
        *(7.40974269950448939160, 2.97886665372100240670),
    ),
    (
        *(2.26052863220117276590, 9.39603524938001434673, 12.0489539808096656605, 17.0814450747565897222),
        *(9.60896809063285878198, 3.36907645100081516050),
    ),
)


@singledispatch
def erf(m: Backend, x: Operand) -> Operand:
    """To 1e-15 of itself."""
    near, beyond = _error_functions(m, x)
    far = 1.0 - beyond
    return m.compare(1.0, m.size(x), near, m.compare(0.0, x, -far, far))


@singledispatch
def erfc(m: Backend, x: Operand) -> Operand:
    """1 − erf to 4e-15 of itself; 0 from 26.5 on."""
    near, beyond = _error_functions(m, x)
    return m.compare(1.0, m.size(x), 1.0 - near, m.compare(0.0, x, 2.0 - beyond, beyond))


def _error_functions(m: Backend, x: Operand) -> tuple[Operand, Operand]:
    """erf(x) where |x| < 1, and erfc(|x|) where not. e^(−x²) of x's upper half, whose square is exact, and of the rest."""
    size = -m.larger(-27.0, -m.size(x))
    square, top = x * x, m.coarse(size)
    above = m.compare(8.0, size, _polynomial(size, _ERFC[0]), _polynomial(size, _ERFC_FAR[0]))
    below = m.compare(8.0, size, _polynomial(size, (1.0, *_ERFC[1])), _polynomial(size, (1.0, *_ERFC_FAR[1])))
    decayed = exp(m, -(top * top)) * exp(m, (top - size) * (top + size))
    near = x * _polynomial(square, _ERF[0]) / _polynomial(square, (1.0, *_ERF[1]))
    return near, decayed * (above / below)


# Of Stirling's series: B₂ₖ/(2k(2k − 1)) and B₂ₖ/2k, B Bernoulli's numbers, from k = 1 on.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_OF_STIRLING = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
_FROM = 8  # where it is to 1e-15


def lgamma(m: Backend, x: Operand) -> Operand:
    """ln Γ(x) of x > 0, to 2e-14 and 1e-15 of itself; no number of others. Below 8 by that of x + 8."""
    up, before = m.compare(_FROM, x, x + float(_FROM), x), x
    for k in range(1, _FROM):
        before = before * (x + float(k))
    per = 1.0 / up
    series = _polynomial(per * per, _STIRLING[::-1]) * per
    far = (up - 0.5) * log(m, up) - up + (0.5 * _LN_2PI + series)
    result = far - log(m, m.compare(_FROM, x, before, 1.0))
    return m.choose(x, m.compare(x, _LARGEST, x, result), float("nan"))


def digamma(m: Backend, x: Operand) -> Operand:
    """Its derivative, to 1e-14 and 1e-15 of itself."""
    up = m.compare(_FROM, x, x + float(_FROM), x)
    per = 1.0 / up
    far = log(m, up) - 0.5 * per - _polynomial(per * per, _OF_STIRLING[::-1]) * (per * per)
    below: Operand = 0.0
    for k in range(_FROM):
        below = below + 1.0 / (x + float(k))
    return m.choose(x, far - m.compare(_FROM, x, below, 0.0), float("nan"))


def round_to_nearest(m: Backend, x: Operand) -> Operand:
    """The nearest integer, of two the even one."""
    number = m.fixed(x)
    return m.compare(2.0**51, m.size(number), _nearest(number), number)


def _polynomial(x: Operand, terms: Sequence[float]) -> Operand:
    result: Operand = terms[0]
    for term in terms[1:]:
        result = result * x + term
    return result


def _nearest(x: Operand) -> Operand:
    return (x + _ROUND) - _ROUND


def _log(m: Backend, x: Operand) -> tuple[Operand, Operand]:
    """ln x of a finite x > 0 as a sum of two numbers, to 1e-18 of itself: 2 atanh(s) with s = (μ − 1)/(μ + 1), x = 2ⁿμ."""
    tiny = m.compare(_NORMAL, x, 1.0, 0.0)
    mantissa, power_ = m.parts(m.choose(tiny, x * 2.0**54, x))
    halved = m.compare(mantissa, _ROOT_2, 1.0, 0.0)
    mantissa, power_ = m.choose(halved, 0.5 * mantissa, mantissa), power_ + halved - 54.0 * tiny
    f, d = mantissa - 1.0, mantissa + 1.0
    lost, inverse = mantissa - (d - 1.0), 1.0 / d
    s = f * inverse
    top, d_top = m.coarse(s), m.coarse(d)
    rest, d_rest = s - top, d - d_top
    more = ((((f - top * d_top) - top * d_rest) - rest * d_top) - rest * d_rest - s * lost) * inverse  # of s
    z = s * s
    series = z * (1 / (2 * _ODD + 1)) + 1 / (2 * _ODD - 1)
    for k in range(_ODD - 2, 0, -1):
        series = series * z + 1 / (2 * k + 1)
    twice = 2.0 * s
    turns = power_ * _LN2[0]  # exact
    high = turns + twice
    low = (twice - (high - turns)) + (twice * (series * z) + 2.0 * more + power_ * _LN2[1])
    exponent = high + low
    return exponent, low - (exponent - high)


TOGETHER = 8  # divisions


@singledispatch
def divide(m: Backend, pairs: list[tuple[Operand, Operand]]) -> list[Operand]:
    """a/b of each, to three or four last digits more than one division loses: by one division for every eight, since dividing
    takes a processor as long as thirty multiplications. Denominators beyond 1e±38 may overflow together: no numbers then."""
    quotients: list[Operand] = []
    for first in range(0, len(pairs), TOGETHER):
        reciprocal = pairs[first : first + TOGETHER]
        if len(reciprocal) == 1:
            quotients.append(reciprocal[0][0] / reciprocal[0][1])
            continue
        inverse = invert_together([b for _, b in reciprocal])
        quotients += [a * i for (a, _), i in zip(reciprocal, inverse, strict=True)]
    return quotients


def invert_together(of: list[Operand]) -> list[Operand]:
    """1/b of each by one division: the product's, of which each half's is that times the other half."""
    if len(of) == 1:
        return [1.0 / of[0]]
    rows = [of]  # products of two, of four, …
    while len(rows[-1]) > 1:
        row = rows[-1]
        rows.append([a * b for a, b in zip(row[::2], row[1::2], strict=False)] + row[len(row) // 2 * 2 :])
    results = [1.0 / rows[-1][0]]
    for row in reversed(rows[:-1]):
        results = [results[k // 2] * row[k ^ 1] if k ^ 1 < len(row) else results[k // 2] for k in range(len(row))]
    return results


def sum_operands(terms: Sequence[Operand]) -> Operand:
    """Σ, as few sums one after another as can be."""
    row = list(terms)
    while len(row) > 1:
        row = [a + b for a, b in zip(row[::2], row[1::2], strict=False)] + row[len(row) // 2 * 2 :]
    return row[0]
