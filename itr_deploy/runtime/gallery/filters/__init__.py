"""Filters: a stated part of SQL, read by our own grammar and written anew for LanceDB.

A filter may come from anybody: it is bounded in length, conditions and depth, names only columns
that exist, compares them only with values of their type, and LanceDB sees nothing but what is
written from the parsed conditions. docs/guides/search.md states the grammar.
"""

from __future__ import annotations

from itr_deploy.runtime.gallery.filters.sql import filter_sql

__all__ = ["filter_sql"]
