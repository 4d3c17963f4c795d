"""The diagnostic figures of a fit, each an SVG string to stand inside a page."""

from pbpk.report.axes import endpoints as endpoints
from pbpk.report.etas import eta_distributions as eta_distributions
from pbpk.report.goodness import goodness as goodness
from pbpk.report.iterations import trace as trace
from pbpk.report.subjects import individual_fits as individual_fits
from pbpk.run_folders.read import ObservationUnits as ObservationUnits
