from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from itr_deploy.rendering import render
from tests.support.command import python


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with templates of its own."""
    folder = tmp_path / "package_with_templates"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "templates" / "text.html").write_text("<p>{{ text }}</p>")
    (folder / "templates" / "figures.html").write_text(
        "{% for value in values %}{{ value | figure }} {{ value | share }},{% endfor %}"
    )
    (folder / "templates" / "dot.svg").write_text(
        '{% extends "picture.svg" %}{% block content %}<title>{{ title }}</title>{% endblock %}'
    )
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_text_is_escaped(package: str) -> None:
    assert render(package, "text.html", text="<b> & \"'") == "<p>&lt;b&gt; &amp; &#34;&#39;</p>"


def test_what_a_template_is_not_given_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="'text' is undefined"):
        render(package, "text.html")


def test_figures_have_one_decimal_and_what_was_not_measured_a_hyphen(package: str) -> None:
    assert render(package, "figures.html", values=[0.25, 1234.0, None]) == (
        "0.2 25.0 %,1,234.0 123400.0 %,- -,"
    )


def test_a_picture_has_the_size_it_is_given(package: str) -> None:
    made = render(package, "dot.svg", width=30, height=20, label="A dot", title="a < b")
    assert made.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 20"')
    assert "<title>a &lt; b</title>" in made


def test_jinja_is_loaded_only_for_what_it_makes() -> None:
    code = """
import sys
import itr_deploy.benchmarking.benchmark, itr_deploy.evaluation.evaluate, itr_deploy.cli.main
print("loaded:", "jinja2" in sys.modules)
"""
    assert python(code).out == "loaded: False\n"
