"""The modelling language: everything that files in `models/` may import."""

from pbpk.model import rules as rules
from pbpk.model.body import allometric as allometric
from pbpk.model.body import organ as organ
from pbpk.model.body import perfused as perfused
from pbpk.model.body import plasma_flow as plasma_flow
from pbpk.model.body import retention_pool as retention_pool
from pbpk.model.body import tissue as tissue
from pbpk.model.chains import daughter as daughter
from pbpk.model.declare import OUT as OUT
from pbpk.model.declare import Block as Block
from pbpk.model.declare import Compartment as Compartment
from pbpk.model.declare import after as after
from pbpk.model.declare import amount as amount
from pbpk.model.declare import conc as conc
from pbpk.model.declare import demand as demand
from pbpk.model.declare import derive as derive
from pbpk.model.declare import flux as flux
from pbpk.model.declare import highest as highest
from pbpk.model.declare import lowest as lowest
from pbpk.model.declare import observe as observe
from pbpk.model.declare import option as option
from pbpk.model.declare import time as time
from pbpk.model.declare import time_above as time_above
from pbpk.model.declare import time_below as time_below
from pbpk.model.declare import time_since_dose as time_since_dose
from pbpk.model.declare import total as total
from pbpk.model.functions import cos as cos
from pbpk.model.functions import exp as exp
from pbpk.model.functions import log as log
from pbpk.model.functions import max as max
from pbpk.model.functions import maximum as maximum
from pbpk.model.functions import min as min
from pbpk.model.functions import minimum as minimum
from pbpk.model.functions import sin as sin
from pbpk.model.functions import sqrt as sqrt
from pbpk.model.functions import where as where
from pbpk.model.laws import clearance as clearance
from pbpk.model.laws import competitive as competitive
from pbpk.model.laws import emax as emax
from pbpk.model.laws import first_order as first_order
from pbpk.model.laws import flow as flow
from pbpk.model.laws import inhibited_first_order as inhibited_first_order
from pbpk.model.laws import perfusion as perfusion
from pbpk.model.laws import radiation_loss as radiation_loss
from pbpk.model.laws import saturable as saturable
from pbpk.model.laws import symport as symport
from pbpk.model.laws import trace_symport as trace_symport
from pbpk.model.laws import zero_order as zero_order
from pbpk.model.organs import alimentary_tract as alimentary_tract
from pbpk.model.organs import decay_chain as decay_chain
from pbpk.model.organs import perfused_organ as perfused_organ
from pbpk.model.organs import physical_decay as physical_decay
from pbpk.model.organs import transfer as transfer
from pbpk.model.symporter import Symporter as Symporter

# Earlier names, which users' models may import.
held, supply, sized = retention_pool, plasma_flow, allometric
saturating, arrested, damaged = emax, inhibited_first_order, radiation_loss
