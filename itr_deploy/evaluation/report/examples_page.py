"""The examples of a page: queries won and lost, with pictures where there are any."""

from __future__ import annotations

from html import escape

from itr_deploy.bundle.modality import Modality, direction_title
from itr_deploy.evaluation.data.split import Split
from itr_deploy.evaluation.measures.search_stages import Staged
from itr_deploy.evaluation.report.examples import Comparison, Example, comparisons
from itr_deploy.evaluation.report.pictures import Pictures
from itr_deploy.evaluation.report.tables import section


def examples_section(stages: Staged, split: Split, pictures: Pictures) -> tuple[str, str]:
    """The section as HTML, and the style rules that hold its pictures, each once."""
    shown = _Shown(split, pictures)
    content = "".join(shown.comparison(found) for found in comparisons(stages))
    title = "Queries won and lost by each stage"
    return (section(title, content) if content else ""), "".join(shown.rules.values())


class _Shown:
    def __init__(self, split: Split, pictures: Pictures) -> None:
        self._split, self._pictures = split, pictures
        self.rules: dict[int, str] = {}

    def comparison(self, found: Comparison) -> str:
        """All examples of one stage against the one before it."""
        before, after = escape(found.before.name), escape(found.after.name)
        parts = [
            f"<h3>{direction_title(found.query)}: {after}, against {before}</h3>"
            f"<p>First only with {after}: {found.won:,} queries. First only with {before}: "
            f"{found.lost:,}.</p>"
        ]
        for kind, examples in found.examples.items():
            parts += [self._example(found, kind, example) for example in examples]
        return "".join(parts)

    def _example(self, found: Comparison, kind: str, example: Example) -> str:
        query = found.query
        ranks = "rank {:,} to {:,}".format(*example.ranks)
        head = f'<div class="example"><strong>{kind}</strong>, {ranks}: '
        if query == "text":
            head += f"&ldquo;{escape(self._split.captions[example.number])}&rdquo;"
            right = {example.number // self._split.captions_per_image}
        else:
            per = self._split.captions_per_image
            head += f'<ul class="hits">{self._image(example.number, "")}</ul>'
            right = set(range(example.number * per, (example.number + 1) * per))
        rows = [
            self._row(self._right_name(query), query, sorted(right), right),
            *(
                self._row(stage.name, query, top, right)
                for stage, top in zip((found.before, found.after), example.tops, strict=True)
            ),
        ]
        return head + "".join(rows) + "</div>"

    @staticmethod
    def _right_name(query: Modality) -> str:
        return "the right image" if query == "text" else "the right captions"

    def _row(self, name: str, query: Modality, items: list[int], right: set[int]) -> str:
        cells = ""
        for item in items:
            mark = "right" if item in right else ""
            cells += self._image(item, mark) if query == "text" else self._caption(item, mark)
        return f'<p class="stage">{escape(name)}</p><ol class="hits">{cells}</ol>'

    def _image(self, number: int, mark: str) -> str:
        name = escape(self._split.image_ids[number])
        picture = ""
        if self._has_picture(number):
            picture = f'<span class="picture p{number}" role="img" aria-label="{name}"></span>'
        return f'<li class="{mark}">{picture}{name}</li>'

    def _caption(self, number: int, mark: str) -> str:
        return f'<li class="text {mark}">{escape(self._split.captions[number])}</li>'

    def _has_picture(self, number: int) -> bool:
        if number not in self.rules:
            uri = self._pictures.data_uri(number)
            if uri is None:
                return False
            self.rules[number] = f'.p{number} {{ background-image: url("{uri}"); }}\n'
        return True
