"""A drawn person in front of stripes, taken apart into layers and moved."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mien.animation.head_flow import HeadFlow, iris_rims
from mien.animation.layers import HeadLayer, filled_background
from mien.animation.painted_face import _coloured_like
from mien.geometry.face_window import FaceWindow, PaintedWindow
from plain_face import plain_keypoints

SIDE = 160
Drawn = tuple[np.ndarray, np.ndarray]


def keypoints(centre: tuple[float, float] = (80.0, 70.0)) -> np.ndarray:
    return plain_keypoints(centre, 22.0)


@pytest.fixture
def drawn() -> Drawn:
    """A picture [160, 160, 3] and its person mask: head with hair, neck, shoulders; green and blue stripes behind."""
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, :, 1], picture[:, ::8, 2] = 120, 200
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (80, 66), (27, 36), 0, 0, 360, 255, -1)
    cv2.rectangle(mask, (70, 95), (90, 125), 255, -1)
    cv2.ellipse(mask, (80, 165), (60, 45), 0, 0, 360, 255, -1)
    picture[mask > 0] = (220, 160, 130)
    cv2.ellipse(picture, (80, 50), (26, 20), 0, 180, 360, (60, 30, 10), -1)
    for x, y in keypoints()[68:]:
        cv2.circle(picture, (int(x), int(y)), 2, (10, 10, 10), -1)
    return picture, mask.astype(np.float32) / 255


PAINT = (90, 90, 90)


def painted(side: int = 48, share: float = 0.0) -> PaintedWindow:
    """A window of grey paint, as much of it as `share` in an ellipse, that bends nothing."""
    grey = np.full((side, side, 3), PAINT, np.uint8)
    ellipse = cv2.ellipse(np.zeros((side, side), np.float32), (side // 2,) * 2, (side // 3,) * 2, 0, 0, 360, share, -1)
    return PaintedWindow(grey, ellipse, np.zeros((side, side, 2), np.float32))


def test_a_head_that_does_not_move_is_the_portrait_to_the_pixel(drawn: Drawn) -> None:
    picture, mask = drawn
    head = HeadLayer.cut(picture, mask, keypoints())
    assert np.array_equal(head.frame(keypoints()), picture)
    assert np.array_equal(head.frame(keypoints(), FaceWindow.around(keypoints()), painted()), picture), (
        "nothing painted"
    )


def test_what_moves_is_the_head_nothing_else(drawn: Drawn) -> None:
    picture, mask = drawn
    made = HeadLayer.cut(picture, mask, keypoints()).frame(keypoints((92.0, 68.0)))
    assert np.array_equal(made[:115, :35], picture[:115, :35]), "background beside the head"
    assert np.array_equal(made[140:], picture[140:]), "the body"
    dark = np.argwhere(made[55:75].max(2) < 60) + [55, 0]
    assert dark[:, 1].mean() == pytest.approx(92, abs=1.5), "the pupils have moved with the head"
    left = made[60, 54:60].astype(int)
    assert (left[:, 1] > left[:, 0] + 40).all(), "where the head was, the background is filled in: green, not skin"


def test_bands_meet_without_a_seam(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, mask = drawn
    head, driven = HeadLayer.cut(picture, mask, keypoints()), keypoints((90.0, 66.0))
    window, paint = FaceWindow.around(driven), painted(share=0.5)
    whole = head.frame(driven, window, paint)
    monkeypatch.setattr("mien.animation.layers._BAND", 17)
    assert np.abs(head.frame(driven, window, paint).astype(int) - whole).max() <= 1


def test_hair_that_the_border_cuts_is_drawn_out_and_never_the_face(drawn: Drawn) -> None:
    picture, mask = drawn
    picture, mask = picture[35:], mask[35:]  # the upper border cuts the hair
    own = keypoints((80.0, 35.0))
    picture = picture.copy()
    picture[2:4, 60:100] = (160, 120, 90)  # one band, which a mirror would show twice
    head = HeadLayer.cut(picture, mask, own)
    column = head.frame(own + [0.0, 5.0]).astype(int)[:14, 75:86, 0].mean(1)
    assert (column[:12] > 40).all() and (column[:12] < 200).all(), "hair from the border on: background has no red"
    bright = column > 110
    assert bright.any() and np.abs(np.diff(bright.astype(int))).sum() <= 2, "one band"
    far = head.frame(own + [0.0, 40.0]).astype(int)
    assert far[:12, 75:86, 0].max() < 180, "hair, not skin: 220 is the forehead's red"


def test_above_a_head_that_no_border_cuts_there_is_background(drawn: Drawn) -> None:
    picture, mask = drawn
    picture, mask = picture[26:], mask[26:]  # four rows above the hair
    own = keypoints((80.0, 44.0))
    made = HeadLayer.cut(picture, mask, own).frame(own + [0.0, 20.0]).astype(int)
    hair = (made[:, 60:100, 0] > 40) & (made[:, 60:100, 1] < 90)
    assert hair[24:30].any() and not hair[:18].any()


@pytest.mark.parametrize("turns", range(4))
def test_all_borders_draw_hair_out_alike(drawn: Drawn, turns: int) -> None:
    picture, mask = (np.rot90(one[35:], turns).copy() for one in drawn)
    size = picture.shape[1::-1]

    def turned(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        return np.stack([(x, y), (y, 160 - x), (160 - x, 125 - y), (125 - y, x)][turns], 1)

    own, driven = turned(keypoints((80.0, 35.0))), turned(keypoints((80.0, 41.0)))
    made = np.rot90(HeadLayer.cut(picture, mask, own).frame(driven), -turns)
    assert picture.shape[1::-1] == size and (np.abs(made.astype(int)[:8, 75:86, 0] - 60) < 25).all()


def test_flow_follows_the_keypoints_in_the_face_and_is_rigid_around_it(drawn: Drawn) -> None:
    picture, mask = drawn
    driven = keypoints()
    driven[48:68, 1] += 3  # the mouth goes down, the head stays
    flow = HeadLayer.cut(picture, mask, keypoints()).flow(driven)
    at = driven[48:68].mean(0)
    assert flow.origin(at)[1] == pytest.approx(at[1] - 3, abs=0.6)
    top = np.array([80.0, 32.0])
    np.testing.assert_allclose(flow.origin(top), top, atol=0.3)
    box = (10, 20, 150, 90)
    places = np.stack(np.meshgrid(np.arange(10, 150) + 0.5, np.arange(20, 90) + 0.5), -1)
    np.testing.assert_allclose(flow.away(box), flow.origin(places) - places, atol=0.35)


def test_paint_lies_on_the_face_wherever_it_goes_and_nowhere_else(drawn: Drawn) -> None:
    picture, mask = drawn
    head, driven = HeadLayer.cut(picture, mask, keypoints()), keypoints((90.0, 66.0))
    window = FaceWindow.around(driven)
    made = head.frame(driven, window, painted(share=1.0)).astype(int)
    grey = np.argwhere((made - PAINT == 0).all(-1))
    np.testing.assert_allclose(grey.mean(0)[::-1] + 0.5, window.centre, atol=1)
    assert np.abs(grey[:, 0] - grey[:, 0].mean()).max() == pytest.approx(window.half * 2 / 3, abs=1.5)
    outside = np.linalg.norm(np.argwhere(np.ones((SIDE, SIDE)))[:, ::-1] - window.centre, axis=1) > window.half
    plain = head.frame(driven).reshape(-1, 3)
    assert np.array_equal(made.reshape(-1, 3)[outside], plain[outside])


def test_paint_has_the_portraits_detail_where_it_is_like_it_and_never_another_colour() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((SIDE, SIDE, 3), (200, 150, 125), np.uint8)
    picture[::2] += 10  # finer than any window shows
    head = HeadLayer.cut(picture, None, keypoints())
    window, middle = FaceWindow.around(keypoints()), np.s_[64:80, 70:90]
    like = replace(painted(share=1.0), paint=np.full((48, 48, 3), (207, 157, 132), np.uint8))
    made = head.frame(keypoints(), window, like)[middle].astype(int)
    assert np.abs(np.diff(made[..., 0], axis=0)).mean() == pytest.approx(10, abs=1.5), "the rows are there"
    assert np.abs(made.mean((0, 1)) - (207, 157, 132)).max() < 2, "in the light of what was painted"
    other = head.frame(keypoints(), window, painted(share=1.0))[middle].astype(int)
    assert np.abs(np.diff(other[..., 0], axis=0)).mean() < 1, "something else has no rows"
    violet = replace(painted(share=1.0), paint=(rng.integers(0, 2, (48, 48, 3)) + (90, 40, 160)).astype(np.uint8))
    shown = head.frame(keypoints(), window, violet)[middle].astype(int)
    assert (shown[..., 2] - shown[..., 1]).max() < 25, "violet skin is nowhere in this portrait"


def test_skin_and_a_blue_iris_do_not_make_violet_lids() -> None:
    skin, blue, violet = np.uint8([[[200, 150, 125]], [[70, 110, 160]], [[120, 60, 150]]])
    portrait = np.tile(skin, (48, 48, 1))
    portrait[20:28, 12:36] = blue
    for own in (skin, blue):
        kept = _coloured_like(np.tile(own, (48, 48, 1)), portrait)[24, 24].astype(int)
        assert np.abs(kept - own[0]).max() <= 3, "the portrait's own colours stay"
    lid = _coloured_like(np.tile(violet, (48, 48, 1)), portrait)[24, 24].astype(int)
    assert lid[2] - lid[0] < 10 < int(violet[0, 2]) - int(violet[0, 0])
    portrait[20:28], portrait[23:25, 12:36] = skin, blue  # lids that have met but for a slit
    assert np.ptp(_coloured_like(np.tile(blue, (48, 48, 1)), portrait)[24, 24]) < 20, "no blue between them"


def test_a_window_that_bends_takes_the_portraits_own_pixels(drawn: Drawn) -> None:
    """Two maps, one after the other, and one resampling: a row of dots one pixel wide stays as sharp as it is."""
    picture, mask = drawn
    picture = picture.copy()
    picture[70, 66:96:3] = 0
    head, window = HeadLayer.cut(picture, mask, keypoints()), FaceWindow.around(keypoints())
    side = 64
    bent = painted(side)
    pixels = 4.0
    bent.flow[16:48, 16:48, 1] = -pixels / window.half  # what is seen comes from above: it goes down
    made = head.frame(keypoints(), window, bent)
    middle = slice(74, 88)
    assert np.abs(made[74, middle].astype(int) - picture[70, middle]).max() <= 40
    assert made[74, middle].min() < 30, "black dots, not grey ones"


def test_of_two_people_each_moves_alone() -> None:
    picture = np.full((SIDE, 2 * SIDE, 3), (30, 120, 40), np.uint8)
    faces = [keypoints((80.0, 70.0)), keypoints((240.0, 70.0))]
    masks = []
    for face, colour in zip(faces, ((220, 160, 130), (120, 90, 70)), strict=True):
        mask = cv2.ellipse(np.zeros(picture.shape[:2], np.uint8), tuple(int(v) for v in face[:68].mean(0)),
                           (27, 40), 0, 0, 360, 1, -1)  # fmt: skip
        picture[mask > 0] = colour
        masks.append(mask.astype(np.float32))
    everybody = np.maximum(*masks)
    layers = [HeadLayer.cut(picture, mask, face, hidden=everybody) for mask, face in zip(masks, faces, strict=True)]
    first = layers[0].frame(faces[0] + [10.0, 0.0])
    made = layers[1].frame(faces[1] - [12.0, 0.0], canvas=first)
    assert np.array_equal(made[:, :SIDE], first[:, :SIDE]), "what the first has done stays"
    assert (made[70, 120:124].astype(int).argmax(-1) == 1).all(), "between them the ground is green"
    columns = np.flatnonzero((np.abs(made[70].astype(int) - (120, 90, 70)) < 12).all(-1))
    assert columns.mean() + 0.5 == pytest.approx(228, abs=1.5)


def test_without_a_mask_the_picture_is_bent_around_the_head_and_rests_at_its_borders(drawn: Drawn) -> None:
    picture, _ = drawn
    head = HeadLayer.cut(picture, None, keypoints())
    assert not head.layered
    made = head.frame(keypoints((84.0, 70.0)))
    dark = np.argwhere(made[55:75].max(2) < 60)
    assert dark[:, 1].mean() == pytest.approx(84, abs=1)
    for border in (np.s_[:, 0], np.s_[:, -1], np.s_[0], np.s_[-1]):
        assert np.abs(made[border].astype(int) - picture[border]).max() <= 16


def test_background_is_known_where_nobody_hides_it_and_smooth_behind(drawn: Drawn) -> None:
    picture, mask = drawn
    alpha = (mask * 255).astype(np.uint8)
    filled, hole = filled_background(picture, alpha, alpha)
    np.testing.assert_array_equal(filled[:40, :30], picture[:40, :30])
    assert not hole[:40, :30].any() and (hole[mask > 0] == 255).all()
    behind = filled[60:80, 70:90].astype(float)
    assert behind[..., 1].mean() == pytest.approx(120, abs=15), "green, as around the head"
    assert behind.std(axis=(0, 1)).max() < 12, "large holes are smooth"


def test_strands_that_the_mask_misses_do_not_stay_behind() -> None:
    picture = np.full((SIDE, SIDE, 3), (90, 120, 150), np.uint8)
    mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (80, 80), 30, 255, -1)
    picture[mask > 0] = (60, 30, 10)
    picture[66:94, 116:118] = (60, 30, 10)  # a strand beside the head
    filled, _ = filled_background(picture, mask, mask)
    assert np.abs(filled.astype(int) - (90, 120, 150)).max() < 12


def test_a_picture_full_of_person_stays_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    alpha = np.full((40, 40), 255, np.uint8)
    filled, hole = filled_background(picture, alpha, alpha)
    assert np.array_equal(filled, picture) and not hole.any()


def opened(by: float) -> np.ndarray:
    """Keypoints of a mouth that is open by so many pixels."""
    points = keypoints()
    points[[49, 50, 51, 52, 53, 61, 62, 63], 1] -= by / 2
    points[[55, 56, 57, 58, 59, 65, 66, 67], 1] += by / 2
    return points


def test_lips_that_meet_hide_what_was_between_them() -> None:
    """On either side of the seam pixels come from that lip's rim; one smooth map takes them from amid the mouth."""
    own, shut = (plain_keypoints((400.0, 400.0), 120.0) for _ in range(2))
    own[[49, 50, 51, 52, 53, 61, 62, 63], 1] -= 25
    own[[55, 56, 57, 58, 59, 65, 66, 67], 1] += 25
    seam = (shut[62] + shut[66]) / 2
    shut[[61, 62, 63, 65, 66, 67], 1] = seam[1]
    flow = HeadFlow(own, shut, (800, 800))
    above, below = flow.origin(seam + [[0.0, -2.0], [0.0, 2.0]])
    np.testing.assert_allclose(above, own[62], atol=4)
    np.testing.assert_allclose(below, own[66], atol=4)
    box = (300, 300, 500, 600)
    rows = flow.away(box)[:, int(seam[0]) - 300, 1] + np.arange(300, 600) + 0.5
    inside = (rows > own[62, 1] + 5) & (rows < own[66, 1] - 5)
    assert inside.sum() <= 6, "of fifty, rows of the result that show what was between the lips"


def test_a_mouth_that_opens_or_stays_has_one_smooth_map(drawn: Drawn) -> None:
    picture, mask = drawn
    head = HeadLayer.cut(picture, mask, keypoints())
    assert head.flow(opened(12.0)).closing[0].amount == 0 and head.flow(keypoints((90.0, 66.0))).closing[0].amount == 0
    assert HeadLayer.cut(picture, mask, opened(12.0)).flow(opened(12.0)).closing[0].amount == 0
    assert HeadLayer.cut(picture, mask, opened(12.0)).flow(keypoints()).closing[0].amount == 1


def test_an_iris_moves_as_a_disc_between_lids_that_stay() -> None:
    own = keypoints()
    wide = float(np.linalg.norm(own[39] - own[36]))
    own[[37, 38], 1], own[[40, 41], 1] = own[36, 1] - 0.15 * wide, own[36, 1] + 0.15 * wide
    own[68] = (own[36] + own[39]) / 2
    driven, way = own.copy(), 0.15 * wide
    driven[68, 0] += way
    rims, seen = iris_rims(driven)
    assert (seen[:4] == 1).all() and np.abs(rims[:4] - driven[68]).max() == pytest.approx(0.2 * wide)
    came_from = HeadFlow(own, driven, (SIDE, SIDE)).origin(rims[:4])
    np.testing.assert_allclose(rims[:4] - came_from, np.tile([way, 0], (4, 1)), atol=0.2 * way)
    lids = HeadFlow(own, driven, (SIDE, SIDE)).origin(own[[36, 39]])
    np.testing.assert_allclose(lids, own[[36, 39]], atol=0.15 * way)


def test_shut_eyes_have_no_irises() -> None:
    shut = keypoints()
    shut[[40, 41]] = shut[[38, 37]]
    assert (iris_rims(shut)[1][:4] == 0).all()


@pytest.mark.parametrize("beside", (0.0, 0.5, 0.85, 1.2))
def test_hair_and_cloth_that_hang_beside_the_neck_do_not_fold_however_far_the_head_goes(beside: float) -> None:
    own, rows = plain_keypoints((400.0, 300.0), 120.0), np.arange(300.0, 900.0, 5.0)
    extent = float(np.ptp(own[:68], axis=0).max())
    hanging = np.column_stack([np.full(len(rows), own[8, 0] + beside * extent), rows])
    for way, last in ((0.1, 0.02), (0.4, 0.1)):
        away = HeadFlow(own, own + [way * extent, 0.0], (800, 900)).origin(hanging) - hanging
        assert np.abs(np.diff(away[:, 0])).max() < 0.8 * 5, "pixels sideways in five pixels down"
        assert np.abs(away[-1, 0]) <= last * extent, "and it comes to rest"


def blinking(left: float) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints of open eyes 40 pixels high, and of the same with so much of their gaps left."""
    own = plain_keypoints((400.0, 400.0), 120.0)
    shut = own.copy()
    for eye in (36, 42):
        middle = own[[eye, eye + 3], 1].mean()
        for points, high in ((own, 20.0), (shut, 20.0 * left)):
            points[[eye + 1, eye + 2], 1], points[[eye + 4, eye + 5], 1] = middle - high, middle + high
    return own, shut


@pytest.mark.parametrize("degrees", (0.0, 35.0))
@pytest.mark.parametrize("lower", (0.0, 15.0, 30.0))
def test_lids_that_meet_are_the_portraits_skin_and_hide_its_eye(degrees: float, lower: float) -> None:
    """One smooth map of rims that lie on each other shows the whole eye open between them.

    degrees: by which the head is rolled. lower: pixels by which the brows come down.
    """
    own, shut = blinking(0.0)
    shut[17:27, 1] += lower
    turn = np.array([[c := np.cos(np.radians(degrees)), s := np.sin(np.radians(degrees))], [-s, c]])
    flow = HeadFlow(own, (shut - 400) @ turn + 400, (800, 800))
    for eye in (36, 42):
        middle = (shut[eye] + shut[eye + 3]) / 2
        down = middle + np.column_stack([np.zeros(80), np.arange(-40.0, 40.0) + 0.5])
        rows = flow.origin((down - 400) @ turn + 400)[:, 1]
        assert not ((rows > own[eye + 1, 1] + 1) & (rows < own[eye + 5, 1] - 1)).any(), "nothing of the open eye"
        assert np.diff(rows).min() > 0, "from above to below nothing is shown twice"


def test_beside_the_seam_every_pixel_has_one_of_two_maps() -> None:
    own, shut = blinking(0.0)
    flow = HeadFlow(own, shut, (800, 800))
    for eye in (36, 42):
        column, middle = int((shut[eye, 0] + shut[eye + 3, 0]) / 2), int(shut[eye, 1])
        box = (column - 10, middle - 60, column + 10, middle + 60)
        rows = flow.away(box)[..., 1] + (np.arange(box[1], box[3]) + 0.5)[:, None]
        assert not ((rows > own[eye + 1, 1] + 1) & (rows < own[eye + 5, 1] - 1)).any(), "none between both"


def test_eyes_that_stay_open_or_are_shut_in_the_portrait_have_no_seam() -> None:
    own, half = blinking(0.5)
    assert [part.amount for part in HeadFlow(own, half, (800, 800)).closing] == [0, 0, 0]
    amounts = [HeadFlow(own, blinking(left)[1], (800, 800)).closing[1].amount for left in (0.4, 0.3, 0.2, 0.1)]
    assert 0 < amounts[0] < amounts[1] < amounts[2] < amounts[3] == 1, "and between one map and two all goes smoothly"
    _, shut = blinking(0.0)
    assert [part.amount for part in HeadFlow(shut, own, (800, 800)).closing] == [0, 0, 0]
    assert [part.amount for part in HeadFlow(shut, shut + 3.0, (800, 800)).closing] == [0, 0, 0]
    wink = own.copy()
    wink[36:42] = shut[36:42]
    assert [part.amount for part in HeadFlow(own, wink, (800, 800)).closing] == [0, 1, 0], "the subject's right eye"
