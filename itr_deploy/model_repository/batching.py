"""Triton's queue in front of a model."""

from __future__ import annotations

from itr_deploy.model_repository.protobuf import Message, Word
from itr_deploy.model_repository.settings import Settings


def dynamic_batching(settings: Settings) -> Message:
    """The queue's part of a configuration: what is refused rather than kept waiting."""
    return {
        "max_queue_delay_microseconds": int(settings.max_wait_ms * 1000),
        "default_queue_policy": {
            "timeout_action": Word("REJECT"),
            "default_timeout_microseconds": max(int(settings.request_timeout * 1e6), 1),
            "allow_timeout_override": True,
            "max_queue_size": settings.max_queue,
        },
    }
