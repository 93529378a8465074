from __future__ import annotations

import pytest

from itr_deploy.diagnosis.python import check_export_half, check_itr_deploy, check_python


def test_this_python_is_supported() -> None:
    assert check_itr_deploy().state == "ok"
    check = check_python()
    assert check.state == "ok"
    assert " on " in check.found


def test_an_old_python_is_a_problem() -> None:
    check = check_python((3, 9, 2))
    assert check.state == "problem"
    assert check.found.startswith("3.9.2 on ")
    assert check.mend == "install Python 3.10 or newer"


def test_a_search_needs_no_export_half(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_export_half().state == "ok"
    monkeypatch.setattr("itr_deploy.diagnosis.python.EXPORT_HALF", ("rich", "nothing-like-it"))
    check = check_export_half()
    assert check.state == "info"
    assert check.found == "nothing-like-it not installed (only needed to export)"
    assert "pip install 'itr-deploy[export]'" in str(check.mend)
