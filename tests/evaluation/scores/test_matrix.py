from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itr_deploy.errors import InputError, OutputError
from itr_deploy.evaluation.scores.grid import Grid
from itr_deploy.evaluation.scores.matrix import JOURNAL, PLAN, SCORES, ScoreMatrix
from tests.support.files import largest_file, tree

GRID = Grid(rows=5, columns=7, tile_rows=2, tile_columns=3)
OF = {"bundle": "b", "data": "d"}


def tile(number: int, planes: int = 1, grid: Grid = GRID) -> np.ndarray:
    rows, columns = grid.tile(number)
    shape = (planes, rows.stop - rows.start, columns.stop - columns.start)
    return np.random.default_rng(number).standard_normal(shape).astype(np.float32)


def filled(root: Path, numbers: range, planes: int = 1) -> ScoreMatrix:
    matrix = ScoreMatrix.create(root, OF, GRID, planes)
    for number in numbers:
        matrix.write(number, tile(number, planes))
    return matrix


def resumed(root: Path) -> ScoreMatrix:
    found = ScoreMatrix.resume(root, OF)
    assert found is not None
    return found


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    tile_rows=st.integers(1, 9),
    tile_columns=st.integers(1, 9),
)
def test_tiles_cover_every_score_once(
    rows: int, columns: int, tile_rows: int, tile_columns: int
) -> None:
    grid = Grid(rows, columns, tile_rows, tile_columns)
    counts = np.zeros((rows, columns), int)
    for number in range(len(grid)):
        counts[grid.tile(number)] += 1
        assert counts[grid.tile(number)].size == grid.size(number)
    assert (counts == 1).all()


@pytest.mark.parametrize("planes", [1, 3])
def test_what_was_written_is_read_in_any_part_and_is_a_numpy_file(
    tmp_path: Path, planes: int
) -> None:
    matrix = filled(tmp_path, range(len(GRID)), planes)
    expected = np.empty((planes, 5, 7), np.float32)
    for number in range(len(GRID)):
        expected[(slice(None), *GRID.tile(number))] = tile(number, planes)
    for plane in range(planes):
        view = matrix.plane(plane)
        assert view.shape == (5, 7)
        np.testing.assert_array_equal(view[:, :], expected[plane])
        np.testing.assert_array_equal(view[1:4, 2:6], expected[plane, 1:4, 2:6])
        np.testing.assert_array_equal(view[2:, :], expected[plane, 2:])
    np.testing.assert_array_equal(
        np.load(tmp_path / SCORES), expected[0] if planes == 1 else expected
    )


def test_it_resumes_with_the_tiles_that_were_finished(tmp_path: Path) -> None:
    filled(tmp_path, range(4))
    matrix = resumed(tmp_path)
    assert (matrix.tiles_done, matrix.complete) == (4, False)
    assert list(matrix.missing()) == list(range(4, len(GRID)))
    assert matrix.done == sum(GRID.size(number) for number in range(4))
    for number in matrix.missing():
        matrix.write(number, tile(number))
    assert resumed(tmp_path).complete


def test_a_tile_whose_scores_were_damaged_is_computed_again(tmp_path: Path) -> None:
    matrix = filled(tmp_path, range(4))
    data = bytearray((tmp_path / SCORES).read_bytes())
    data[matrix._start] ^= 1  # first score of tile 0
    (tmp_path / SCORES).write_bytes(data)
    assert list(resumed(tmp_path).missing()) == [0, *range(4, len(GRID))]


def test_a_torn_line_of_the_journal_is_dropped(tmp_path: Path) -> None:
    filled(tmp_path, range(4))
    journal = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(journal[:-4])
    matrix = resumed(tmp_path)
    assert matrix.tiles_done == 3
    matrix.write(3, tile(3))
    assert resumed(tmp_path).tiles_done == 4


LINE = len("4 01234567\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.integers(0, GRID.size(4)), noted=st.integers(0, LINE))
def test_a_kill_at_any_place_loses_the_tile_it_was_at_and_no_other(
    written: int, noted: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("killed")
    whole = filled(root / "whole", range(5))
    matrix = filled(root / "killed", range(4))
    scores = np.load(whole.root / SCORES)
    # The scores of tile 4 reach the disk one after the other, then its line does.
    rows, columns = GRID.tile(4)
    flat = np.flatnonzero(np.ones_like(scores)).reshape(scores.shape)[rows, columns].reshape(-1)
    found = np.load(matrix.root / SCORES, mmap_mode="r+")
    found.reshape(-1)[flat[:written]] = scores.reshape(-1)[flat[:written]]
    found.flush()
    if written == GRID.size(4):
        line = (whole.root / JOURNAL).read_text().splitlines(keepends=True)[4]
        with (matrix.root / JOURNAL).open("a") as journal:
            journal.write(line[:noted])
    finished = written == GRID.size(4) and noted >= LINE - 1
    after = resumed(matrix.root)
    assert list(after.missing()) == list(range(4 + finished, len(GRID)))
    after.write(4, tile(4))
    np.testing.assert_array_equal(np.load(after.root / SCORES), scores)


def test_lines_that_mean_nothing_are_dropped(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write("99999 00000000\nhello\n\n1 0000000\n")
    assert resumed(tmp_path).tiles_done == 1


def test_scores_of_something_else_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, range(4))
    with pytest.raises(InputError, match=r"scores of another data;.*force=True"):
        ScoreMatrix.resume(tmp_path, {**OF, "data": "changed"})
    with pytest.raises(InputError, match="scores of another bundle and data"):
        ScoreMatrix.resume(tmp_path, {"bundle": "x", "data": "x"})


def test_there_is_nothing_to_resume_in_an_empty_or_a_half_made_directory(tmp_path: Path) -> None:
    assert ScoreMatrix.resume(tmp_path / "absent", OF) is None
    filled(tmp_path, range(4))
    (tmp_path / PLAN).unlink()
    assert ScoreMatrix.resume(tmp_path, OF) is None


def test_a_damaged_plan_is_one_clear_error(tmp_path: Path) -> None:
    filled(tmp_path, range(1))
    (tmp_path / PLAN).write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: cannot be read"):
        resumed(tmp_path)


def test_a_full_disk_is_noticed_before_anything_is_computed(tmp_path: Path) -> None:
    with largest_file(4096), pytest.raises(OutputError, match="cannot write"):
        ScoreMatrix.create(tmp_path, OF, Grid(100, 100, 10, 10))
    assert ScoreMatrix.resume(tmp_path, OF) is None


def test_removing_it_leaves_other_files_alone(tmp_path: Path) -> None:
    matrix = filled(tmp_path / "a", range(1))
    matrix.remove()
    assert not (tmp_path / "a").exists()
    matrix = filled(tmp_path / "b", range(1))
    (tmp_path / "b" / "mine").touch()
    matrix.remove()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine"]


def test_kept_scores_are_read_whatever_they_are_of_and_nothing_is_written(tmp_path: Path) -> None:
    filled(tmp_path, range(len(GRID)))
    before = tree(tmp_path)
    kept = ScoreMatrix.kept(tmp_path)
    np.testing.assert_array_equal(kept.plane()[:, :], resumed(tmp_path).plane()[:, :])
    assert kept.of == OF
    assert tree(tmp_path) == before


def test_kept_scores_of_other_values_are_others(tmp_path: Path) -> None:
    first = filled(tmp_path / "a", range(len(GRID)))
    second = filled(tmp_path / "b", range(len(GRID)))
    assert first.identity == second.identity
    second.write(0, -tile(0))
    assert first.identity != second.identity


def test_unfinished_or_damaged_scores_are_not_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no saved scores"):
        ScoreMatrix.kept(tmp_path)
    filled(tmp_path, range(len(GRID) - 1))
    with pytest.raises(InputError, match="8 of 9 tiles of scores are finished"):
        ScoreMatrix.kept(tmp_path)
    filled(tmp_path, range(len(GRID)))
    content = bytearray((tmp_path / SCORES).read_bytes())
    content[-1] ^= 1
    (tmp_path / SCORES).write_bytes(content)
    with pytest.raises(InputError, match="8 of 9 tiles"):
        ScoreMatrix.kept(tmp_path)
