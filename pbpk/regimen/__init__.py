"""What is administered when and where (dose.py), what is emptied when (void.py), and both together (regimen.py)."""

from pbpk.regimen.dose import dose as dose
from pbpk.regimen.dose import parse_dose as parse_dose
from pbpk.regimen.regimen import Dose as Dose
from pbpk.regimen.regimen import Regimen as Regimen
from pbpk.regimen.times import parse_times as parse_times
