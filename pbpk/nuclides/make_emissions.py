"""Makes emissions.csv: what each nuclide of decays.toml emits, from ENSDF as the package paceENSDF 0.6.3 has it.

    python -m pbpk.nuclides.make_emissions

A development tool (the package is 100 MB and needed here alone). ENSDF gives alphas, endpoints and shares of betas,
gammas with their conversion coefficients, and shells of electron capture. What the atom does next is worked out here from
vacancies: K and L X-rays with the fluorescence yields of Hubbell et al. 1994 (J. Phys. Chem. Ref. Data 23:339), the rest
of each binding energy as Auger electrons, so that energy is conserved; L X-rays and L Auger electrons are one line each,
shells beyond L one more. Lines that carry less than 1/1000 of their kind's energy are merged into one that keeps their
number and energy.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from pbpk.nuclides import read_nuclides
from pbpk.nuclides.betas import mean_beta_energy

HERE = Path(__file__).parent
SHELLS = "KLMNOPQ"
# Gammas out of isomers that decays.toml has as nuclides of their own: initial level, keV.
ISOMERS = {"I-131": (163.93,)}
# Nuclides without a data set of their own: isomeric transitions (keV, gammas per decay, uncertainty, coefficients K, L, M+).
HAND = {
    "Xe-131m": (54, [(163.93, 0.0194, 0.0002, (31.6, 14.75, 4.15))], "ensdf2023, the transition in the decay of I-131"),
    "Tc-99m": (
        43,
        [(140.511, 0.890, 0.002, (0.0988, 0.0120, 0.00255)), (142.675, 0.00023, 0.00002, (29.1, 9.06, 2.05))],
        "ensdf2023, transitions of Tc-99 as in the decay of Mo-99; and 2.1726 keV wholly converted beyond the L shell",
    ),
}
E0 = {"Y-90": (1760.7,)}  # transitions without photons, keV
MERGED = 1e-3


def yield_k(z: int) -> float:
    """The fluorescence yield of the K shell (Hubbell et al. 1994)."""
    x = (0.0370 + 0.03112 * z + 5.44e-5 * z**2 - 1.25e-6 * z**3) ** 4
    return x / (1 + x)


def yield_l(z: int) -> float:
    """The mean fluorescence yield of the L shell (Hubbell et al. 1994)."""
    if z < 37:
        return 1.939e-8 * z**3.8874
    x = (0.17765 + 0.00298937 * z + 8.91297e-5 * z**2 - 2.67184e-7 * z**3) ** 4
    return x / (1 + x)


class VacantAtom:
    """Counts vacancies and tells what comes of them. Energies in keV."""

    def __init__(self, z: int, binding: dict[str, float], k_lines: list[tuple[float, float]]):
        self.z, self.binding, self.k_lines = z, binding, k_lines
        self.vacancies: dict[str, float] = defaultdict(float)

    def relax(self) -> list[tuple[str, float, float, str]]:
        """Turn all vacancies into X-rays and Auger electrons, from the innermost shell outwards."""
        b, out = self.binding, []
        n_k, n_l = self.vacancies["K"], self.vacancies["L"]
        wk, wl = yield_k(self.z), yield_l(self.z)
        shape = sum(share for _, share in self.k_lines)
        alpha = 0.0
        for energy, share in self.k_lines:
            out.append(("xray", energy, n_k * wk * share / shape, "K"))
            alpha += (energy < b["K"] - 0.5 * b["L"]) * share / shape
        xk = sum(e * s for e, s in self.k_lines) / shape if shape else 0.0
        # of an Auger of the K shell, 1.6 holes on average go to L, 0.4 further out (KLL 65 %, KLX 31 %, KXY 4 %)
        auger = b["K"] - 1.6 * b["L"] - 0.4 * b["M"]
        out.append(("auger", auger, n_k * (1 - wk), "K"))
        n_l += n_k * (wk * alpha + (1 - wk) * 1.6)
        n_m = n_k * (wk * (1 - alpha) + (1 - wk) * 0.4) + self.vacancies["M"]
        lost = n_k * (b["K"] - wk * xk - (1 - wk) * auger - (wk * alpha + (1 - wk) * 1.6) * b["L"])
        out.append(("xray", b["L"] - 0.85 * b["M"], n_l * wl, "L"))
        out.append(("auger", b["L"] - 2 * b["M"], n_l * (1 - wl), "L"))
        n_m += n_l * (1 + (1 - wl))
        # whatever is left of all binding energies leaves as the outer shells' electrons
        bound = n_l * b["L"] + self.vacancies["M"] * b["M"] + max(lost, 0.0)
        spent = n_l * (wl * (b["L"] - 0.85 * b["M"]) + (1 - wl) * (b["L"] - 2 * b["M"]))
        if n_m > 0:
            out.append(("auger", max(bound - spent, 0.0) / n_m, n_m, "M and beyond"))
        return [(kind, energy, n, about) for kind, energy, n, about in out if n > 0 and energy > 0]


def binding(record: dict) -> dict[str, float]:
    """Weighted for L and M as they are filled by K lines: L3 and L2 mostly."""
    e = record
    return {
        "K": e["KsubshellBindingEnergy"],
        "L": (e["L1subshellBindingEnergy"] + e["L2subshellBindingEnergy"] + 2 * e["L3subshellBindingEnergy"]) / 4,
        "M": e["M5subshellBindingEnergy"] if e.get("M5subshellBindingEnergy") else 0.05 * e["L3subshellBindingEnergy"],
    }


class EnsdfFiles:
    """The ENSDF data sets of the package, read once."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("paceENSDF")
        assert package and package.origin, "pip install paceENSDF"
        self.root = Path(package.origin).parent
        self.atoms: dict[int, tuple[dict, list]] = {}
        for path in sorted((self.root / "PACE_JSON").glob("j_gx_*.json")):
            data = json.loads(path.read_text(encoding="utf-8"))
            for row in data["bindingEnergies"]:
                if row["atomicNumber"] not in self.atoms:
                    x = next(r for r in data["XrayBranchingRatios"] if r["atomicNumber"] == row["atomicNumber"])
                    lines = [(x[f"energyK{n}"], x[f"K{n}BR"]) for n in ("alpha1", "alpha2", "beta1", "beta2", "beta3")]
                    self.atoms[row["atomicNumber"]] = (
                        binding(row),
                        [(e, s) for e, s in lines if e and s],
                    )

    def atom(self, z: int) -> VacantAtom:
        """A new atom of charge `z` with its binding energies and K lines."""
        near = min(self.atoms, key=lambda k: abs(k - z))
        energies_near, lines_near = self.atoms[near]
        scale = (z / near) ** 2.2  # a neighbour's energies where an element has no file of its own
        energies = {k: v * scale for k, v in energies_near.items()}
        return VacantAtom(z, energies, [(e * scale, s) for e, s in lines_near])

    def sets(self, name: str) -> list[dict]:
        """The data sets of a nuclide's decays."""
        symbol, mass = name.split("-")
        paths = sorted((self.root / "ENSDF_JSON").glob(f"j_input_{symbol}{mass}_*_0keV.json"))
        return [json.loads(p.read_text(encoding="utf-8")) for p in paths]


def emissions(name: str, files: EnsdfFiles) -> list[tuple]:
    """(kind, keV, endpoint keV, per decay, uncertainty, about, source)"""
    if name in HAND:
        z, transitions, source = HAND[name]
        atom, rows = files.atom(z), []
        for energy, gammas, error, (k, ell, m) in transitions:
            rows.append(("gamma", energy, 0.0, gammas, error, "", source))
            rows += converted(atom, energy, gammas, error, {"K": k, "L": ell, "M": m}, source)
        if name == "Tc-99m":
            rows.append(("ce", 2.1726 - 0.4, 0.0, 0.990, 0.002, "2.1726 keV", source))
            atom.vacancies["M"] += 0.990
        return rows + [(kind, e, 0.0, n, 0.0, about, "hubbell1994") for kind, e, n, about in atom.relax()]
    rows, atoms = [], []
    for data in files.sets(name):
        atom = files.atom(data["daughterAtomicNumber"])
        atoms.append(atom)
        rows += of_set(name, data, atom)
    for atom in atoms:
        rows += [(kind, e, 0.0, n, 0.0, about, "hubbell1994") for kind, e, n, about in atom.relax()]
    return rows


def converted(
    atom: VacantAtom, energy: float, gammas: float, error: float, shells: dict[str, float], source: str
) -> list:
    """Electrons of conversion of a gamma, and the vacancies that they leave."""
    rows = []
    for shell, coefficient in shells.items():
        if coefficient > 0 and energy > atom.binding[shell]:
            n = gammas * coefficient
            rows.append(
                ("ce", energy - atom.binding[shell], 0.0, n, error * coefficient, f"{energy:g} keV, {shell}", source)
            )
            atom.vacancies[shell] += n
    return rows


def of_set(name: str, data: dict, atom: VacantAtom) -> list[tuple]:
    """The lines of one data set."""
    norm = data["decaySchemeNormalization"][0]["normalizationRecord"][0]
    branch = norm["multiplerBranchingRatio"] or 1.0
    photons, leptons = norm["multiplerPhotonIntensity"] or 1.0, norm["multiplerLeptonIntensity"] or 1.0
    d_photons = (norm["dMultiplerPhotonIntensity"] or 0.0) / photons
    rows, source = [], "ensdf2023"
    listed = sum(a["alphaIntensity"] or 0.0 for x in data["levelScheme"] for a in x.get("alphaDecay") or []) / 100
    mass = data["daughterAtomicMass"]
    for level in data["levelScheme"]:
        for g in level["gammaDecay"]:
            if not g["gammaIntensity"] or any(abs(level["levelEnergy"] - x) < 0.1 for x in ISOMERS.get(name, ())):
                continue
            n = g["gammaIntensity"] / 100 * photons * branch
            error = n * (((g["dGammaIntensity"] or 0.0) / g["gammaIntensity"]) ** 2 + d_photons**2) ** 0.5
            if g["gammaEnergy"] <= 0:
                continue
            if any(abs(g["gammaEnergy"] - x) < 1 for x in E0.get(name, ())):
                rows.append(("ce", g["gammaEnergy"] - atom.binding["K"], 0.0, n, error, "E0, K", source))
                atom.vacancies["K"] += n
                continue
            rows.append(("gamma", g["gammaEnergy"], 0.0, n, error, "", source))
            rows += converted(atom, g["gammaEnergy"], n, error, coefficients(g, atom), source)
        for a in level.get("alphaDecay") or []:
            if a["alphaIntensity"] and a["alphaEnergy"]:
                n = a["alphaIntensity"] / 100 * branch / listed  # shares as listed add up to 0.98 to 1.01
                error = (a["dAlphaIntensity"] or 0.0) / 100 * branch
                rows.append(("alpha", a["alphaEnergy"], 0.0, n, error, "", source))
                rows.append(("recoil", a["alphaEnergy"] * 4.0026 / mass, 0.0, n, error, "", "energy and momentum"))
        for b in level.get("betaMinusDecay") or []:
            if b["betaMinusIntensity"] and b["endPointBetaMinusEnergy"]:
                n, error = (b[k] / 100 * leptons * branch for k in ("betaMinusIntensity", "dBetaMinusIntensity"))
                unique = b["forbiddennessDegree"] if "UF" in (b["forbiddennessDegree"] or "") else ""
                end = b["endPointBetaMinusEnergy"]
                about = b["averageBetaMinusEnergy"] or mean_beta_energy(end, atom.z, mass, bool(unique))
                rows.append(("beta-", about, end, n, error, unique, source))
        for c in level.get("betaPlusDecay") or []:
            of_capture(c, leptons * branch, atom, rows, source)
    return rows


def coefficients(g: dict, atom: VacantAtom) -> dict[str, float]:
    """K, L and M+; where ENSDF has the total alone it is shared 80:15:5, or among the shells that can be reached."""
    c = g["calculatedAtomicShellConversionCoefficients"][0]
    k, ell, *outer = (c[f"calculatedInternalConversionCoefficientAtomicShell{s}"] or 0.0 for s in SHELLS)
    plus = g["sumCalculatedAtomicShellConversionCoefficients"][0]
    m = sum(outer) or (plus.get("sumConversionCoefficientsAtomicShellPlusM") or 0.0)
    if not sum(outer[:1]) and plus.get("sumConversionCoefficientsAtomicShellPlusL"):
        ell, m = (
            plus["sumConversionCoefficientsAtomicShellPlusL"] * 0.76,
            plus["sumConversionCoefficientsAtomicShellPlusL"] * 0.24,
        )
    total = (
        g["calculatedTotalInternalConversionCoefficient"] or g["experimentalTotalInternalConversionCoefficient"] or 0.0
    )
    if k + ell + m > 0:
        return {"K": k, "L": ell, "M": max(m, total - k - ell if total > k + ell else 0.0)}
    energy = g["gammaEnergy"]
    if energy > atom.binding["K"]:
        return {"K": 0.80 * total, "L": 0.15 * total, "M": 0.05 * total}
    return {"K": 0.0, "L": 0.75 * total, "M": 0.25 * total} if energy > atom.binding["L"] else {"M": total}


def of_capture(c: dict, scale: float, atom: VacantAtom, rows: list, source: str) -> None:
    """The vacancies that electron capture leaves."""
    shells = c["calculatedAtomicShellElectronCaptureFractions"][0]
    whole = (c["totalElectronCaptureBetaPlusIntensity"] or c["electronCaptureIntensity"] or 0.0) / 100 * scale
    k = shells["calculatedElectronCaptureFractionAtomicShellK"] or 0.0
    ell = shells["calculatedElectronCaptureFractionAtomicShellL"] or 0.0
    more = c["sumCalculatedAtomicShellElectronCaptureFractions"][0]
    m = (
        more["sumElectronCaptureFractionAtomicShellPlusM"]
        or shells["calculatedElectronCaptureFractionAtomicShellM"]
        or 0.0
    )
    capture = (c["electronCaptureIntensity"] or 0.0) / 100 * scale
    if k + ell == 0 and capture:
        k, ell, m, whole = 0.80, 0.15, 0.05, capture
    for shell, share in (("K", k), ("L", ell), ("M", m)):
        atom.vacancies[shell] += whole * share
    if c["betaPlusIntensity"] and c["averageBetaPlusEnergy"]:
        n, error = (c[key] / 100 * scale for key in ("betaPlusIntensity", "dBetaPlusIntensity"))
        unique = c["forbiddennessDegree"] if "UF" in (c["forbiddennessDegree"] or "") else ""
        rows.append(("beta+", c["averageBetaPlusEnergy"], c["endPointBetaPlusEnergy"], n, error, unique, source))
        rows.append(("gamma", 510.999, 0.0, 2 * n, 2 * error, "annihilation", source))


def merged(rows: list[tuple]) -> list[tuple]:
    """The lines with the faint ones of each kind merged into one that keeps their number and energy."""
    out = []
    for kind in dict.fromkeys(r[0] for r in rows):
        mine = [r for r in rows if r[0] == kind]
        energy = sum(r[1] * r[3] for r in mine)
        small = [r for r in mine if r[1] * r[3] < MERGED * energy and kind not in ("beta-", "beta+")]
        out += sorted((r for r in mine if r not in small), key=lambda r: -r[1] * r[3])
        if small:
            n = sum(r[3] for r in small)
            mean = sum(r[1] * r[3] for r in small) / n
            out.append(
                (kind, mean, 0.0, n, sum(r[4] ** 2 for r in small) ** 0.5, f"{len(small)} small ones", small[0][6])
            )
    return out


def main() -> None:
    """Write emissions.csv."""
    files, table = EnsdfFiles(), []
    for name, nuclide in read_nuclides().items():
        if not nuclide.stable:
            table += [(name, *row) for row in merged(emissions(name, files))]
    columns = ["nuclide", "kind", "keV", "endpoint_keV", "per_decay", "uncertainty", "about", "source"]
    frame = pd.DataFrame(table, columns=columns)
    frame["source"] = [re.sub(r"\s+", " ", str(s)) for s in frame["source"]]
    frame.to_csv(HERE / "emissions.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
