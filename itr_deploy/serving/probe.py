"""A real search that shows whether a service can search."""

from __future__ import annotations

from itr_deploy.bundle.modality import other
from itr_deploy.runtime.retriever import Retriever
from itr_deploy.runtime.warming import warm_query


def probe(retriever: Retriever) -> None:
    """Search for something, whatever is found.

    Raises:
        ItrDeployError: The search fails.
    """
    modality = other(retriever.gallery.modality)
    query = warm_query(retriever.matcher, modality, detecting=False)
    if query:
        if modality == "text":  # a retriever may remember the text, and not encode it again
            retriever.matcher.encode_texts([query["query"]])
        retriever.search(**query, k=1)
