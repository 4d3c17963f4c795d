"""What is given, when and where (dose.py), and what is emptied when (void.py)."""

from pbpk.regimen.dose import Dose as Dose
from pbpk.regimen.dose import Regimen as Regimen
from pbpk.regimen.dose import dose as dose
from pbpk.regimen.dose import parse_dose as parse_dose
from pbpk.regimen.dose import parse_times as parse_times
