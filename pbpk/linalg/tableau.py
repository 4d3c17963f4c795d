"""Coefficients of stiffly accurate Rosenbrock methods, transformed so that no product with the Jacobian is needed.

With u the stages of a step of length h from y,

    (I − γhJ) uᵢ = γh f(y + Σ aᵢⱼuⱼ) + γ Σ cᵢⱼuⱼ,        y₁ = y + Σ aₛⱼuⱼ + uₛ,        error ≈ uₛ

as in Hairer & Wanner, Solving Ordinary Differential Equations II (1996), §IV.7. Multiplied by γh, a step of length 0 is the
identity rather than 0/0, so that patients with nothing to do can keep company with those who have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RosenbrockTableau:
    """`a` and `c` are (stages, stages), strictly lower triangular; `order` that of the solution."""

    gamma: float
    a: np.ndarray
    c: np.ndarray
    order: int


def _lower_triangular(*rows: tuple[float, ...]) -> np.ndarray:
    out = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows, start=1):
        out[i, : len(row)] = row
    return out


# Rodas4: Hairer & Wanner 1996, table IV.7.2 (the coefficients of their code RODAS, method 1); order 4(3).
_RODAS4_LAST = (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895)
RODAS4 = RosenbrockTableau(
    gamma=0.25,
    a=_lower_triangular(
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        _RODAS4_LAST,
        (*_RODAS4_LAST, 1.0),
    ),
    c=_lower_triangular(
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
        (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
    ),
    order=4,
)

# Rodas5P: Steinebach 2023, BIT Numer. Math. 63:27, table 3; order 5(4).
_RODAS5P_LAST = (
    *(-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256),
    0.030198172008377946,
)
RODAS5P = RosenbrockTableau(
    gamma=0.21193756319429014,
    a=_lower_triangular(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _RODAS5P_LAST,
        (*_RODAS5P_LAST, 1.0),
        (*_RODAS5P_LAST, 1.0, 1.0),
    ),
    c=_lower_triangular(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (
            *(30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783),
            *(-19.097331116725623, -28.087943162872662),
        ),
        (
            *(37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047),
            *(-40.06618937091002, -54.66780262877968, -9.48861652309627),
        ),
    ),
    order=5,
)
TABLEAUS = {"rodas4": RODAS4, "rodas5p": RODAS5P}
