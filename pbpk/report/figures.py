"""The diagnostic figures of a fit, each an SVG string to stand inside a page."""

from pbpk.report.axes import list_endpoints as list_endpoints
from pbpk.report.etas import draw_eta_distributions as draw_eta_distributions
from pbpk.report.goodness import draw_goodness as draw_goodness
from pbpk.report.iterations import draw_iterations as draw_iterations
from pbpk.report.subjects import draw_individual_fits as draw_individual_fits
from pbpk.run_folders.read import ObservationUnits as ObservationUnits
