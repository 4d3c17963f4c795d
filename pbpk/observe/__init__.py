"""What is measured: a model's own observables (readings.py), and what an instrument makes of them (measure.py)."""

from pbpk.observe.readings import amount_in as amount_in
from pbpk.observe.readings import compartments_read as compartments_read
from pbpk.observe.readings import display_factor as display_factor
from pbpk.observe.readings import find_observable as find_observable
from pbpk.observe.readings import observable_names as observable_names
from pbpk.observe.readings import observable_unit as observable_unit
from pbpk.observe.readings import observe_all as observe_all
from pbpk.observe.readings import observe_sums as observe_sums
