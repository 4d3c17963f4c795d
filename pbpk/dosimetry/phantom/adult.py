"""The stylised adult: the equations of ORNL/TM-8381 (Cristy and Eckerman 1987), as quadrics of the adult phantom.

Re-entered from the report's equations, checked by volume (tests/dosimetry/test_phantom.py). Not in that report: the
oesophagus (Eckerman, Cristy and Ryman 1996, simplified to one tube), the salivary glands (ellipsoids of ours at the angle
of the jaw and under it, 83 g in all), the sternum and the place of the thyroid. The phantom is the report's: of one sex in
shape, with the organs of both.

Earlier rows lie inside later ones: a point belongs to the first row that holds it.
"""

from __future__ import annotations

import numpy as np

from pbpk.dosimetry.phantom.shapes import (
    Inside,
    difference,
    ellipsoid,
    elliptic_cylinder,
    half_space,
    intersection,
    mirrored,
    rotated,
    union,
)

TRUNK = (20.0, 10.0, 70.0)  # half axes and height, cm
HEAD = (8.0, 10.0, 16.85, 7.15)
LEGS = 80.0
SKIN = 0.2


# The report's head stands on the trunk without a neck, with the thyroid in it: 35 cm from the spleen and 9 from the spine.
# It is moved by this, cm along y and z, to the height of the lungs' tops, and a sternum is added (docs/dosimetry.md has
# what it changes).
THYROID_SHIFT = (1.0, -7.0)


def list_solids(as_reported: bool = False) -> list[tuple[str, str, Inside]]:
    """The body's solids: (name, material, shape) from the innermost outwards.

    `as_reported` leaves the thyroid in the head, and the sternum out.
    """
    return [
        *_head((0.0, 0.0) if as_reported else THYROID_SHIFT),
        *([] if as_reported else [("sternum", "bone", _sternum())]),
        *_skeleton(),
        *_chest(),
        *_upper_abdomen(),
        *_bowel(),
        *_pelvis(),
        ("skin", "soft", difference(_outline(), _outline(SKIN))),
        ("other", "soft", _outline()),
    ]


def _outline(less: float = 0.0) -> Inside:
    """The whole body; with `less`, what is that far inside."""
    (a, b, c), (ah, bh, ch1, ch2) = TRUNK, HEAD
    trunk = elliptic_cylinder((0, 0), (a - less, b - less), (0, c - less))
    neck = elliptic_cylinder((0, 0), (ah - less, bh - less), (c - less, c + ch1))
    crown = intersection(
        ellipsoid((0, 0, c + ch1), (ah - less, bh - less, ch2 - less)), half_space(lambda x, y, z: z - c - ch1)
    )
    legs = half_space(
        lambda x, y, z: np.where(
            (z < 0) & (z >= -LEGS), (10 + z / 10 - less) ** 2 - (np.abs(x) - (10 + z / 10)) ** 2 - y**2, -1.0
        )
    )
    front = half_space(  # the male genitalia, a wedge before the legs
        lambda x, y, z: np.where(
            (z < 0) & (z >= -4.8) & (np.abs(x) <= 10 + z / 10) & (y <= 0) & (y >= -(10 + z / 10)),
            (np.abs(x) - (10 + z / 10)) ** 2 + y**2 - (10 + z / 10) ** 2,
            -1.0,
        )
    )
    breast = mirrored(ellipsoid((10, -8.66, 52), (4.95 - less, 4.35 - less, 4.15 - less)))
    return union(trunk, neck, crown, legs, front, breast)


def _head(moved: tuple[float, float]) -> list[tuple[str, str, Inside]]:
    c = TRUNK[2]
    top = c + HEAD[2]
    parotid = ellipsoid((6.1, 1.9, c + 9.0), (1.2, 1.75, 2.85))
    submandibular = ellipsoid((3.2, -4.6, c + 6.0), (1.2, 1.7, 1.4))
    sublingual = ellipsoid((1.4, -6.0, c + 7.6), (0.7, 1.5, 0.65))
    face = intersection(
        difference(
            elliptic_cylinder((0, 0), (7.1, 9.1), (c + 6.1, c + 16.6)),
            elliptic_cylinder((0, 0), (6.0, 8.0), (c, c + 17)),
        ),
        half_space(lambda x, y, z: -y),
    )
    cranium = difference(ellipsoid((0, 0, top), (7.7, 9.7, 6.85)), ellipsoid((0, 0, top), (6.8, 8.8, 5.95)))
    return [
        ("brain", "soft", ellipsoid((0, 0, top), (6.6, 8.6, 5.75))),
        ("cranium", "bone", cranium),
        ("face", "bone", face),
        ("salivary_glands", "soft", mirrored(union(parotid, submandibular, sublingual))),
        ("thyroid", "soft", _thyroid(outer=2.2, inner=1.0, height=5.0, y0=-4.0 + moved[0], base=c + moved[1])),
    ]


def _thyroid(outer: float, inner: float, height: float, y0: float, base: float) -> Inside:
    """Two lobes between concentric cylinders, cut by the report's function τ."""

    def inside(x, y, z):
        dy, up = y - y0, z - base
        tau = np.where(
            up < height / 4,
            1 + (np.sqrt(2) - 2) / 2 * up / (height / 4),
            (2 - np.sqrt(2)) / 3 * up / (height / 2) + (2 * np.sqrt(2) - 1) / 3,
        )
        square = x**2 + dy**2
        ring = (square <= outer**2) & (square >= inner**2) & (dy <= 0) & (up >= 0) & (up <= height)
        return ring & ((dy - np.abs(x)) ** 2 >= 2 * square * tau**2)

    return inside


def _sternum() -> Inside:
    """A plate before the heart, 115 g: ours."""
    return half_space(
        lambda x, y, z: np.where((np.abs(x) <= 2.2) & (y >= -9.4) & (y <= -8.3) & (z >= 48) & (z <= 65), 1.0, -1.0)
    )


def _skeleton() -> list[tuple[str, str, Inside]]:
    leg = half_space(
        lambda x, y, z: np.where(
            (z <= 0) & (z >= -79.8), (3.5 + 2.5 * z / 79.8) ** 2 - (x - 10 - z / 10) ** 2 - y**2, -1.0
        )
    )
    arm = half_space(
        lambda x, y, z: np.where(
            (z >= 0) & (z <= 69),
            ((69 + z) / 138) ** 2 - ((1.4 / 138 * (z - 69) + x - 18.4) / 1.4) ** 2 - (y / 2.7) ** 2,
            -1.0,
        )
    )
    pelvis = half_space(
        lambda x, y, z: np.where(
            (x**2 + (y + 3) ** 2 <= 12**2)
            & (x**2 + (y + 3.8) ** 2 >= 11.3**2)
            & (y >= -3)
            & (z >= 0)
            & (z <= 22)
            & ((z > 14) | (y <= 5)),
            1.0,
            -1.0,
        )
    )
    spine = elliptic_cylinder((0, 5.5), (2.0, 2.5), (22, 78.5))
    ribs = intersection(
        difference(
            elliptic_cylinder((0, 0), (17, 9.8), (35.1, 67.3)), elliptic_cylinder((0, 0), (16.5, 9.3), (35.1, 67.3))
        ),
        half_space(lambda x, y, z: np.where(np.floor((z - 35.1) / 1.4) % 2 == 0, 1.0, -1.0)),
    )
    clavicle = half_space(
        lambda x, y, z: np.where(
            (y < 0) & (11.1 - y > 0.89415 * np.abs(x)) & (11.1 - y < 7.0342 * np.abs(x)),
            0.7883**2 - (20 - np.sqrt(x**2 + (y - 11.1) ** 2)) ** 2 - (z - 68.25) ** 2,
            -1.0,
        )
    )
    scapula = intersection(
        difference(
            elliptic_cylinder((0, 0), (19, 9.8), (50.9, 67.3)), elliptic_cylinder((0, 0), (17, 9.8), (50.9, 67.3))
        ),
        half_space(lambda x, y, z: np.where((y > 0.25 * np.abs(x)) & (y < 0.8 * np.abs(x)), 1.0, -1.0)),
    )

    def above(height: float) -> Inside:
        return half_space(lambda x, y, z: z - height)

    return [
        ("femur_head", "bone", intersection(mirrored(leg), above(-12))),
        ("leg_bones", "bone", mirrored(leg)),
        ("humerus_head", "bone", intersection(mirrored(arm), above(58))),
        ("arm_bones", "bone", mirrored(arm)),
        ("pelvis", "bone", pelvis),
        ("cervical_spine", "bone", intersection(spine, above(70))),
        ("thoracic_spine", "bone", intersection(spine, above(35.1))),
        ("lumbar_spine", "bone", spine),
        ("ribs", "bone", ribs),
        ("clavicles", "bone", clavicle),
        ("scapulae", "bone", scapula),
    ]


def _chest() -> list[tuple[str, str, Inside]]:
    oesophagus = elliptic_cylinder((0, 2.575), (1.17, 0.42), (43, 70))
    thymus = ellipsoid((0, -7.3, 57), (1.5, 0.8, 4.0))
    breast = mirrored(ellipsoid((10, -8.66, 52), (4.95 - SKIN, 4.35 - SKIN, 4.15 - SKIN)))
    lung = {
        side: intersection(ellipsoid((x0, 0, 43.5), (5, 7.5, 24)), half_space(lambda x, y, z: z - 43.5))
        for side, x0 in (("left", 8.5), ("right", -8.5))
    }
    right = difference(
        lung["right"],
        half_space(lambda x, y, z: np.where((z >= 46) & (z <= 54) & (y <= 1.5) & (x >= -5.4), 1.0, -1.0)),
    )
    left = difference(
        lung["left"], half_space(lambda x, y, z: np.where((z <= 55) & (y <= 1.0) & (x <= 8.0), 1.0, -1.0))
    )
    return [
        ("oesophagus", "soft", oesophagus),
        ("thymus", "soft", thymus),
        *_heart(),
        ("lungs", "lung", union(left, right)),
        ("breasts", "soft", difference(breast, elliptic_cylinder((0, 0), (20, 10), (0, 70)))),
    ]


def _heart() -> list[tuple[str, str, Inside]]:
    """Four chambers as quarters and halves of ellipsoids in axes of their own; walls 1.3, 0.6 and 0.3 cm."""
    rows = ((0.6751, -0.4727, -0.5664), (-0.4640, 0.3249, -0.8241), (0.5736, 0.8191, 0.0))
    long, across, left, right, atrium = 8.6, 5.02, 3.1, 7.0, 5.4

    def chambers(lv: float, rv: float, at: float) -> Inside:
        def shape(x, y, z):
            def within(a, b, c):
                return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1

            whole_lv, whole_la = within(long, across, left), within(atrium, across, left)
            ventricle = within(long - lv, across - lv, left - lv)
            low = (z < 0) & ~whole_lv & within(long - rv, across - rv, right - rv)
            la = within(atrium - at, across - at, left - at)
            ra = (z < 0) & ~whole_la & within(atrium - at, across - at, right - at)
            return np.where(x >= 0, ventricle | low, la | ra)

        return rotated(shape, (1.0, -1.8, 50.0), rows)

    def whole() -> Inside:
        def shape(x, y, z):
            a = np.where(x >= 0, long, atrium)
            c = np.where(z >= 0, left, right)
            return (x / a) ** 2 + (y / across) ** 2 + (z / c) ** 2 <= 1

        return rotated(shape, (1.0, -1.8, 50.0), rows)

    return [("heart_contents", "soft", chambers(1.3, 0.6, 0.3)), ("heart_wall", "soft", whole())]


def _upper_abdomen() -> list[tuple[str, str, Inside]]:
    turn = np.radians(52)
    adrenal = mirrored(
        rotated(
            intersection(ellipsoid((0, 0, 0), (1.5, 0.5, 5.0)), half_space(lambda x, y, z: z)),
            (3.5, 5.0, 38.0),
            ((np.cos(turn), np.sin(turn), 0), (-np.sin(turn), np.cos(turn), 0), (0, 0, 1)),
        )
    )
    gall = ((0.9615, 0.0, -0.2748), (-0.0574, 0.9779, -0.2008), (0.2687, 0.2090, 0.9403))

    def bladder(radius: float, bottom: float) -> Inside:
        def shape(x, y, z):
            sphere = (x**2 + y**2 + z**2 <= radius**2) & (z < 0)
            cone = (x**2 + y**2 <= (radius - 0.2275 * z) ** 2) & (z >= 0) & (z <= bottom)
            return sphere | cone

        return rotated(shape, (-4.5, -3.2, 30.0), gall)

    kidney = intersection(ellipsoid((6, 6, 32.5), (4.5, 1.5, 5.5)), half_space(lambda x, y, z: x - 3))
    liver = intersection(
        elliptic_cylinder((0, 0), (16.5, 8.0), (27, 43)), half_space(lambda x, y, z: z / 43 - x / 35 - y / 45 - 1)
    )
    pancreas = intersection(
        ellipsoid((-1, 0, 37), (16, 1.2, 3.3)),
        half_space(lambda x, y, z: x + 1),
        half_space(lambda x, y, z: np.where(x > 3, z - 37, 1.0)),
    )
    stomach = ellipsoid((8, -4, 35), (4, 3, 8))
    return [
        ("adrenals", "soft", adrenal),
        ("gallbladder_contents", "soft", bladder(2.0, 8.0)),
        ("gallbladder_wall", "soft", bladder(2.12, 8.0)),
        ("kidneys", "soft", mirrored(kidney)),
        ("stomach_contents", "soft", ellipsoid((8, -4, 35), (4 - 0.613, 3 - 0.613, 8 - 0.613))),
        ("stomach_wall", "soft", stomach),
        ("pancreas", "soft", pancreas),
        ("spleen", "soft", ellipsoid((11, 3, 37), (3.5, 2.0, 6.0))),
        ("liver", "soft", liver),
    ]


def _bowel() -> list[tuple[str, str, Inside]]:
    def ascending(d: float) -> Inside:
        return elliptic_cylinder((-8.5, -2.36), (2.5 - d, 2.5 - d), (14.45, 24.0))

    def transverse(d: float) -> Inside:
        return lambda x, y, z: (
            (((y + 2.36) / (2.5 - d)) ** 2 + ((z - 25.5) / (1.5 - d)) ** 2 <= 1) & (np.abs(x) <= 10.5)
        )

    def descending(d: float) -> Inside:
        def inside(x, y, z):
            x0 = 9.5 + 0.7798 * (z - 24) / 15.28
            y0 = 2.5 * (8.72 - z) / 15.28
            return (((x - x0) / (1.88 - d)) ** 2 + ((y - y0) / (2.13 - d)) ** 2 <= 1) & (z >= 8.72) & (z <= 24)

        return inside

    def sigmoid(d: float) -> Inside:
        def inside(x, y, z):
            upper = (np.sqrt((x - 3) ** 2 + (z - 8.72) ** 2) - 5.72) ** 2 + y**2 <= (1.57 - d) ** 2
            lower = (np.sqrt((x - 3) ** 2 + z**2) - 3.0) ** 2 + y**2 <= (1.57 - d) ** 2
            return (upper & (x >= 3) & (z <= 8.72)) | (lower & (x <= 3) & (z >= 0))

        return inside

    small = half_space(
        lambda x, y, z: np.where(
            (x**2 + (y + 3.8) ** 2 <= 11.3**2) & (y >= -4.86) & (y <= 2.2) & (z >= 17) & (z <= 27), 1.0, -1.0
        )
    )
    return [
        ("right_colon_contents", "soft", union(ascending(0.7085), transverse(0.527))),
        ("right_colon_wall", "soft", union(ascending(0.0), transverse(0.0))),
        ("left_colon_contents", "soft", descending(0.54)),
        ("left_colon_wall", "soft", descending(0.0)),
        ("rectosigmoid_contents", "soft", sigmoid(0.66)),
        ("rectosigmoid_wall", "soft", sigmoid(0.0)),
        ("small_intestine", "soft", small),
    ]


def _pelvis() -> list[tuple[str, str, Inside]]:
    uterus = intersection(ellipsoid((0, -2, 14), (2.62, 5.22, 1.57)), half_space(lambda x, y, z: y + 4.62))
    return [
        ("bladder_contents", "soft", ellipsoid((0, -4.5, 8), (4.706, 3.206, 3.206))),
        ("bladder_wall", "soft", ellipsoid((0, -4.5, 8), (4.958, 3.458, 3.458))),
        ("uterus", "soft", uterus),
        ("ovaries", "soft", mirrored(ellipsoid((6, 0, 15), (1.0, 0.5, 2.0)))),
        ("testes", "soft", mirrored(ellipsoid((1.3, -8.0, -2.3), (1.3, 1.5, 2.3)))),
    ]
