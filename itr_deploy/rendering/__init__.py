"""Pages and pictures from templates, as self-contained HTML and SVG."""

from __future__ import annotations


def render(package: str, name: str, **values: object) -> str:
    """Render a template; text inserted into it is escaped.

    Args:
        package: A package with a directory ``templates``. Its templates can also extend and include
            those of this package.
        name: The template's name.
        values: The template's variables.
    """
    # Imported here because only pages and pictures need it.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__name__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(figure=_figure, share=_share)
    return environment.get_template(name).render(values)


def _figure(value: float | None) -> str:
    """One decimal, a hyphen for none."""
    return "-" if value is None else f"{value:,.1f}"


def _share(value: float | None) -> str:
    """A share from 0 to 1 in percent, a hyphen for none."""
    return "-" if value is None else f"{100 * value:.1f} %"
