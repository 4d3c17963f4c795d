"""The alpha scale: what one nucleus gets, hit by hit, beside the mean dose.

source_distances.py (how far from the nucleus do decays happen) → hits.py (chords, residual range: single events, zF, zD, S) →
spectrum.py (f(z; D)), survival.py, mkm.py, cluster.py; tissues.py has follicles, ducts, mucosa, urothelium, marrow;
apportion.py brings an organ's dose to a tissue's parts; report.py puts it beside the beta formalism. Lengths are µm.

Tissue is water of 1 g/cm³, tracks are straight, a track gives its energy where it is: no delta rays, no straggling.
"""
