"""What is measured: a model's own observables (readings.py), and what an instrument makes of them (measure.py)."""

from pbpk.observe.readings import find_compartments_read as find_compartments_read
from pbpk.observe.readings import find_display_factor as find_display_factor
from pbpk.observe.readings import find_observable as find_observable
from pbpk.observe.readings import find_observable_unit as find_observable_unit
from pbpk.observe.readings import name_amount as name_amount
from pbpk.observe.readings import observe_all as observe_all
from pbpk.observe.readings import observe_sums as observe_sums
from pbpk.observe.readings import select_observables as select_observables
