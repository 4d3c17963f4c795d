"""Checks of a declared model before any number is computed: names, laws, units, reachability.

Units are checked by calling each law on pint quantities, once, at load: no table of rules, and nothing of pint remains
in the compiled code.
"""

from __future__ import annotations

from dataclasses import replace

from pbpk import units
from pbpk.errors import BadInput, did_you_mean
from pbpk.model.clocks import tick
from pbpk.model.declare import (
    OUT,
    Block,
    Clock,
    ComputedReading,
    Concentration,
    CourseReading,
    Flux,
    Observable,
    TotalAmount,
    sort_derived,
)
from pbpk.model.law_check import (
    check_law_arguments,
    check_traceable,
    describe_bindings,
    evaluate_units,
    find_computed_unit,
    find_reading_unit,
)
from pbpk.model.parameters import DERIVED, Parameter, ParameterTable
from pbpk.model.ranges import check_range, list_questionable, list_role_ranges


def check_model(block: Block, table: ParameterTable) -> list[str]:
    """Raise `BadInput` at the first fault; return remarks that do not stop the model from running."""
    _check_names(block)
    for f in block.fluxes:
        if f.law is tick:
            continue
        check_law_arguments(f.law, f.bindings, f"{f.where}: {f.path}")
        _check_parameters(f, table)
        _check_units(f, table)
    for c in block.compartments:
        roles = ((c.volume, "L"), (c.lag, "h"), (c.bioavailability, "1"), (c.rate, f"({c.unit})/h"), (c.duration, "h"))
        roles += ((c.initial, c.unit),)
        for role, wanted in roles:
            if role:
                row = _require_row(role, table, f"compartment `{c.name}`")
                units.require_dimension(row.unit, wanted, f"`{role}`", where=f"compartment `{c.name}`")
    for o in block.observables:
        if o.scale:
            units.require_dimension(
                _require_row(o.scale, table, f"observable `{o.name}`").unit,
                "1",
                f"`{o.scale}`",
                f"observable `{o.name}`",
            )
        totals = [r for r in _list_readings(o) if isinstance(r, TotalAmount)]
        if any(not r.compartments for r in totals):
            raise BadInput("adds up nothing", where=f"observable `{o.name}`")
        if any(len({c.unit for c in r.compartments}) > 1 for r in totals):
            raise BadInput("adds amounts of different units", where=f"observable `{o.name}`")
        if isinstance(o.reading, ComputedReading):
            _check_computed(o, table)
    for o in block.observables:
        if isinstance(o.reading, CourseReading):
            _check_course(o, block, table)
    return _collect_remarks(block, table)


def list_parameter_names(block: Block) -> list[str]:
    """Every parameter that the block speaks of."""
    names = [b for f in block.fluxes for _, b in f.bindings if isinstance(b, str)]
    names += [n for c in block.compartments for n in c.roles]
    for d in block.derived:
        names += [d.name, *d.parents]
    names += [n for d in block.demands for _, n in d.of]
    names += [o.scale for o in block.observables if o.scale]
    names += [b for o in block.observables for b in _list_readings(o) if isinstance(b, str)]
    names += [b.compartment.volume for o in block.observables for b in _list_readings(o) if _has_volume(b)]
    return list(dict.fromkeys(names))


def add_derived_rows(block: Block, table: ParameterTable) -> ParameterTable:
    """The table with a row for each derived parameter: its unit from its parents', its value for the caller to compute."""
    import pint

    registry = units.get_registry()
    for d in sort_derived(block.derived):
        if d.name in table:
            raise BadInput(f"`{d.name}` is both in the table and derived", where=d.where)
        rows = {n: _require_row(n, table, f"{d.where}: `{d.name}`") for n in d.parents}
        check_law_arguments(d.rule, d.of, f"{d.where}: `{d.name}`")
        unit_quantities = {n: registry.Quantity(1.0, row.unit) for n, row in rows.items()}
        try:
            arguments = {
                a: unit_quantities[n] if isinstance(n, str) else [unit_quantities[m] for m in n] for a, n in d.of
            }
            quantity = registry.Quantity(1.0, "1") * d.rule(**arguments)
        except (pint.PintError, TypeError) as e:
            raise BadInput(f"{d.rule.__name__} cannot take these units: {e}", where=f"{d.where}: `{d.name}`") from None
        check_traceable(d.rule, d.of, f"{d.where}: `{d.name}`")
        of = ", ".join(f"`{n}`" for n in rows)
        row = Parameter(d.name, 0.0, f"{quantity.units:~}" or "1", d.about, f"{d.rule.__name__} of {of}", DERIVED)
        table = replace(table, rows={**table.rows, d.name: row})
    return table


def check_values(block: Block, table: ParameterTable) -> None:
    """Raise `BadInput` at the first number that no body can have: out of its row's range or its role's, or against one of the
    model's demands."""
    for row in table.values():
        if row.range and not row.range[0] <= row.value <= row.range[1]:
            raise BadInput(
                f"`{row.name}` is {row.value:g} {row.unit}: {row.about}",
                where=table.path,
                why=f"It can only lie between {row.range[0]:g} and {row.range[1]:g}.",
            )
    for d in block.demands:
        margin = d.rule(**{a: table[n].internal for a, n in d.of})
        if not margin >= -1e-9:
            values = ", ".join(f"{table[n].name} = {table[n].value:.6g} {table[n].unit}" for _, n in d.of)
            raise BadInput(d.words, where=table.path, why=values)
    ranges = list_role_ranges(block)
    for row in table.values():
        check_range(ranges, row, str(table.path))


def _check_names(block: Block) -> None:
    for kind, names in (
        ("compartments", [c.name for c in block.compartments]),
        ("observables", [o.name for o in block.observables]),
    ):
        for name in names:
            if names.count(name) > 1:
                raise BadInput(f"two different {kind} are called `{name}`")
    if not block.compartments or not block.fluxes:
        raise BadInput("a model needs at least one compartment and one flux")
    for c in block.compartments:
        units.read_quantity(c.unit, f"compartment `{c.name}`")
    declared = set(block.compartments) | {OUT}
    mentions = [(f.path.source, str(f)) for f in block.fluxes] + [(f.path.target, str(f)) for f in block.fluxes]
    mentions += [(b.compartment, str(f)) for f in block.fluxes for _, b in f.bindings if not isinstance(b, str | Clock)]
    mentions += [(c, f"route `{word}`") for word, c in block.routes.items()]
    for o in block.observables:
        for r in _list_readings(o):
            inside = () if isinstance(r, str) else r.compartments if isinstance(r, TotalAmount) else (r.compartment,)
            mentions += [(c, f"observable `{o.name}`") for c in inside]
    for word, c in block.routes.items():
        if word in {other.name for other in block.compartments} - {c.name}:
            raise BadInput(
                f"the route `{word}` bears another compartment's name", hint="a dose into it would be ambiguous"
            )
    for c, where in mentions:
        if c not in declared:
            raise BadInput(f"`{c.name}` is not among the model's compartments", where=where)
    for f in block.fluxes:
        if f.path.source == f.path.target:
            raise BadInput("leads nowhere: it begins where it ends", where=f"{f.where}: {f.path}")


def _list_readings(o: Observable) -> list:
    """All that an observable reads: its one reading, or what the arguments of its law are bound to; nothing of its own where
    it is the course of another."""
    if isinstance(o.reading, CourseReading):
        return [o.reading.level] if o.reading.level else []
    return [b for _, b in o.reading.bindings] if isinstance(o.reading, ComputedReading) else [o.reading]


def _has_volume(binding: object) -> bool:
    return isinstance(binding, Concentration)


def _check_course(o: Observable, block: Block, table: ParameterTable) -> None:
    """The observable whose course is read, and the unit of a level. Raises `BadInput`."""
    assert isinstance(o.reading, CourseReading)
    where, known = f"observable `{o.name}`", {other.name: other for other in block.observables}
    if o.reading.observable not in known:
        raise BadInput(
            f"no observable `{o.reading.observable}`", where=where, hint=did_you_mean(o.reading.observable, known)
        )
    course = known[o.reading.observable]
    if isinstance(course.reading, CourseReading):
        raise BadInput(f"reads the course of `{course.name}`, which is one itself", where=where)
    if o.reading.level:
        row = _require_row(o.reading.level, table, where)
        units.require_dimension(row.unit, find_reading_unit(course, table), f"`{row.name}`", where=where)


def _check_computed(o: Observable, table: ParameterTable) -> None:
    """An observable law's arguments, and the unit that they make."""
    assert isinstance(o.reading, ComputedReading)
    r, where = o.reading, f"{o.reading.where}: observable `{o.name}`"
    check_law_arguments(r.law, r.bindings, where)
    for _, binding in r.bindings:
        if isinstance(binding, str):
            _require_row(binding, table, where)
        elif isinstance(binding, Concentration):
            _require_row(binding.compartment.volume or "", table, where)
    made = find_computed_unit(r, table, where)
    if r.unit is not None:
        units.require_dimension(r.unit, made, "`unit`", where=where)
    check_traceable(r.law, r.bindings, where)


def _require_row(name: str, table: ParameterTable, where: str):
    if name not in table:
        raise BadInput(f"no parameter `{name}`", where=where, hint=did_you_mean(name, table))
    return table[name]


def _check_parameters(f: Flux, table: ParameterTable) -> None:
    for _, binding in f.bindings:
        assert not isinstance(binding, Clock), "clocks are compartments by now"
        if isinstance(binding, str):
            _require_row(binding, table, f"{f.where}: {f.path}")
        elif volume := getattr(binding.compartment, "volume", None):
            _require_row(volume, table, f"{f.where}: {f.path}")


def _check_units(f: Flux, table: ParameterTable) -> None:
    """The law on quantities must give amount of the source (or, for production, of the target) per time."""
    where = f"{f.where}: {f.path}"
    ends = [c for c in (f.path.source, f.path.target) if c is not OUT]
    if len(ends) == 2 and not units.have_same_dimension(ends[0].unit, ends[1].unit):
        raise BadInput(f"joins {ends[0].unit} to {ends[1].unit}", where=where)
    registry = units.get_registry()
    rate = evaluate_units(f.law, f.bindings, table, where)
    wanted = registry.Quantity(1.0, f"({ends[0].unit})/h")
    if rate.dimensionality != wanted.dimensionality:
        raise BadInput(
            f"rate is in {rate.units:~}; a flux out of `{f.path.source.name}` is in {ends[0].unit}/time"
            if not rate.dimensionless
            else f"rate is dimensionless; a flux out of `{f.path.source.name}` is in {ends[0].unit}/time",
            where=where,
            why=describe_bindings(f.law, f.bindings, table),
            hint=_suggest_law(f, table),
        )
    check_traceable(f.law, f.bindings, where)


def _suggest_law(f: Flux, table: ParameterTable) -> str:
    """Name the commonest slip: a clearance where a rate constant is wanted, or the reverse."""
    for name, b in f.bindings:
        if not isinstance(b, str):
            continue
        unit = table[b].unit
        if name == "k" and units.have_same_dimension(unit, "L/h"):
            return f'unit "{unit}" cannot be used where "1/h" is needed: divide `{b}` by a volume, or use the law clearance'
        if name in ("cl", "q") and units.have_same_dimension(unit, "1/h"):
            return f'unit "{unit}" cannot be used where "L/h" is needed: use the law first_order with amount(...)'
    return ""


def _collect_remarks(block: Block, table: ParameterTable) -> list[str]:
    used = set(list_parameter_names(block))
    remarks = [f"parameter `{name}` is used by no flux" for name in table if name not in used]
    entered = {f.path.target for f in block.fluxes} | set(block.routes.values())
    remarks += [
        f"`{c.name}` is entered by no flux and no route"
        for c in block.compartments
        if c not in entered and c.clock is None
    ]
    return remarks + list_questionable(block, table)
