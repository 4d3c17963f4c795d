"""The process pbpk runs in: what must be set before JAX loads, and which files on disk it may run. Loads no JAX."""

from pbpk.runtime.process import cache_folder as cache_folder
from pbpk.runtime.process import list_refused_caches as list_refused_caches
from pbpk.runtime.process import open_cache_folder as open_cache_folder
from pbpk.runtime.process import prepare_process as prepare_process
from pbpk.runtime.process import require_address_space as require_address_space
from pbpk.runtime.process import show_xla_log as show_xla_log
from pbpk.runtime.process import warn_of_refused_caches as warn_of_refused_caches

prepare_process()
