from __future__ import annotations

from itr_deploy.bundle.published import COCO_1K, COCO_5K, FLICKR, Published


def test_a_protocol_fits_the_whole_test_set_alone() -> None:
    assert FLICKR.fits(1000, 5000, 1)
    assert FLICKR.fits(1000, 5000, 4)
    assert not FLICKR.fits(1014, 5070, 1)
    assert not COCO_5K.fits(1000, 5000, 1)
    assert not COCO_5K.fits(5000, 25010, 1)


def test_figures_of_folds_need_these_folds() -> None:
    assert [COCO_1K.fits(5000, 25000, folds) for folds in (1, 2, 5)] == [False, False, True]
    assert COCO_5K.fits(5000, 25000, 5)


def test_a_sum_is_added_up_and_a_title_says_whose_figures_they_are() -> None:
    row = Published.of("Model", FLICKR, (1.1, 2.2, 3.3), (4.0, 5.0, 6.0), "Paper")
    assert row.rsum == 21.6
    assert row.title == "Model in the paper, Flickr30K 1K test (Paper)"
