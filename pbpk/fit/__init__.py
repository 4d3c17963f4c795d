"""Floor 4: estimation. The interface is base.py; one file per method; `METHODS` lists them."""

from __future__ import annotations

from pbpk.errors import WrongUsage, did_you_mean

METHODS = ("focei", "foce", "fo", "map", "pooled")


def method_called(name: str):
    """The method of that name (imported here: the list above must cost nothing to read)."""
    from pbpk.fit.fo import FO
    from pbpk.fit.focei import FOCE, FOCEI
    from pbpk.fit.pooled import POOLED
    from pbpk.fit.posterior import MAP

    known = {m.name: m for m in (FOCEI, FOCE, FO, MAP, POOLED)}
    if name.lower() not in known:
        raise WrongUsage(f"no estimation method `{name}`", hint=did_you_mean(name, known))
    return known[name.lower()]
