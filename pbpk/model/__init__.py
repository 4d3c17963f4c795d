"""Floor 1: what a model is. `models/*/structure.py` import from here alone."""

from pbpk.model.declare import OUT as OUT
from pbpk.model.declare import Block as Block
from pbpk.model.declare import Compartment as Compartment
from pbpk.model.declare import amount as amount
from pbpk.model.declare import conc as conc
from pbpk.model.declare import flux as flux
from pbpk.model.declare import observe as observe
from pbpk.model.declare import total as total
from pbpk.model.laws import clearance as clearance
from pbpk.model.laws import competitive as competitive
from pbpk.model.laws import first_order as first_order
from pbpk.model.laws import flow as flow
from pbpk.model.laws import perfusion as perfusion
from pbpk.model.laws import saturable as saturable
from pbpk.model.laws import zero_order as zero_order
from pbpk.model.organs import alimentary_tract as alimentary_tract
from pbpk.model.organs import perfused_organ as perfused_organ
from pbpk.model.organs import physical_decay as physical_decay
from pbpk.model.organs import transfer as transfer
