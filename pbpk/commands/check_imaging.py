"""What `pbpk check` does with a VOI table and with a file of measurements."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple


class ImagingOptions(NamedTuple):
    """The options of `pbpk check` that a VOI table takes."""

    nuclide: str | None
    decay_corrected: bool | None
    administered: str | None
    names: dict[str, str]
    events: Path | None
    into: str | None


def is_voi_file(path: Path) -> bool:
    """Whether a file's header is that of a VOI table."""
    from pbpk.data.voi_headers import is_voi_table
    from pbpk.errors import BadInput
    from pbpk.tables import read_csv

    try:
        return is_voi_table(list(read_csv(path).columns))
    except BadInput as e:
        if "separated by" in e.what:  # no reader of tables will take it, and none can say more
            raise
        return False  # whatever it is, the reader of data files will say what is wrong with it


def refuse_imaging_options(how: ImagingOptions) -> None:
    """Raises `WrongUsage` where an option of VOI tables is given for something else."""
    from pbpk.errors import WrongUsage

    for name, value in how._asdict().items():
        if value not in (None, {}):
            option = {"names": "voi"}.get(name, name.replace("_", "-"))
            raise WrongUsage(f"--{option} goes with a VOI table", hint="its header has a column `voi`")


def check_voi(path: Path, model: str | None, how: ImagingOptions) -> tuple[dict, str]:
    """What there is to say of a VOI table, and the table as text. Writes the event table if one is asked for."""
    from pbpk.commands.shared import say
    from pbpk.data.voi import read_voi
    from pbpk.errors import BadInput, Note, WrongUsage, did_you_mean
    from pbpk.model.load import load_model

    loaded = load_model(model, nuclide=how.nuclide) if model else None
    nuclide = how.nuclide or (loaded.nuclide if loaded else None)
    if nuclide is None:
        raise WrongUsage("--nuclide is missing: what decays between the scans depends on it", hint="--nuclide At-211")
    if (how.events is None) != (how.into is None):
        raise WrongUsage("--events and --into go together", hint="--events data.csv --into blood")
    into = how.into or ""
    if loaded and into:
        routes = loaded.system.block.routes
        into = routes[into].name if into in routes else into
        if into not in loaded.system.held_names:
            raise BadInput(f"no compartment `{into}`", hint=did_you_mean(into, [*routes, *loaded.system.held_names]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read_voi(
            path,
            nuclide=nuclide,
            decay_corrected=how.decay_corrected,
            administered=how.administered,
            observables=list(loaded.system.observables) if loaded else None,
            vois=how.names,
        )
    slips = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, Note)))
    for text in table.warnings:
        say(f"warning: {text}")
    frame = table.frame
    findings = {
        "voi_table": str(path),
        "nuclide": table.nuclide.name,
        "subjects": int(frame["subject"].nunique()),
        "vois": ", ".join(frame["voi"].unique()),
        "measurements": len(frame),
        "note": [*table.notes, *slips],
        "warning": list(table.warnings),
    }
    if how.events is not None:
        from pbpk.run_folders.claim import write_new_text

        text = table.events(into=into).to_csv(index=False)
        write_new_text(how.events, text)
        findings["events"] = str(how.events)
    shown = frame if loaded or how.names else frame.drop(columns="observable")
    return {**findings, "rows": shown.to_dict("records")}, shown.to_string(index=False, na_rep="-", float_format="%.5g")


def check_measurements(path: Path, model: str | None) -> dict:
    """What a file of measurements declares; with a model, whether it shows their regions."""
    from pbpk.model.load import load_model
    from pbpk.observe.declared import KINDS, read_measurements
    from pbpk.observe.readings import select_observables

    measurements = read_measurements(path)
    if model is not None:
        system = load_model(model).system
        for m in measurements:
            select_observables(system, list(m.regions))
    kind_of = {kind: name for name, kind in KINDS.items()}
    descriptions = [f"{m.name}: {kind_of[type(m)]} of {', '.join(m.regions)}" for m in measurements]
    return {"measurements": str(path), "measurement": descriptions}
