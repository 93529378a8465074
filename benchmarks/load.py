"""Load on a server: clients that wait for their answers, and clients that come whether or not.

The machine that is measured makes the load too. So a client is little more than a socket: requests
are bytes that were made before, and answers are looked at when the load is over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

PATIENCE = 30.0
"""Seconds until a client gives up."""

BROKEN = 0
"""In place of a status: the connection ended without an answer."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        number: Which of the requests it answers.
        status: Its HTTP status, or `BROKEN`.
        seconds: From the moment at which the request was due.
        body: What was answered.
        retry_after: Whether it says when to try again.
    """

    number: int
    status: int
    seconds: float
    body: bytes
    retry_after: bool = False


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes:
        answers: All answers.
        seconds: How long it took, the last answer included.
        cpu_seconds: Of this process meanwhile: what the load itself cost.
    """

    answers: Sequence[Answer]
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Successful answers a second."""
        return sum(answer.status == 200 for answer in self.answers) / self.seconds

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers have which status."""
        return dict(sorted(Counter(answer.status for answer in self.answers).items()))

    def share(self, status: int) -> float:
        """Answers with a status, of all."""
        return self.statuses.get(status, 0) / len(self.answers)

    def milliseconds(self, percent: float) -> float:
        """Percentile of the successful answers' times."""
        taken = [answer.seconds for answer in self.answers if answer.status == 200]
        return 1e3 * float(np.percentile(taken, percent)) if taken else float("nan")


def request(url: str, path: str, body: bytes) -> bytes:
    """A request as it is sent."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed(url: str, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """A load of clients that each send a request once they have the answer to the last."""

    async def client(first: int, end: float) -> list[Answer]:
        answers, number, connection = [], first, Connection(url)
        while (begun := time.perf_counter()) < end:
            answers.append(await connection.ask(requests, number % len(requests), begun))
            number += clients
        connection.close()
        return answers

    async def load() -> Load:
        begun, cpu = time.perf_counter(), time.process_time()
        end = begun + seconds
        found = await asyncio.gather(*(client(number, end) for number in range(clients)))
        taken = time.perf_counter() - begun
        return Load([one for some in found for one in some], taken, time.process_time() - cpu)

    return asyncio.run(load())


def open_ended(
    url: str,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    *,
    evenly: bool = False,
    seed: int = 0,
) -> Load:
    """A load of independent clients, of whom so many a second come whether or not others wait.

    They come at random moments (Poisson), or evenly. A request's time begins when it is due, so
    that a late one does not look fast.
    """
    free: list[Connection] = []

    async def ask(number: int, due: float) -> Answer:
        connection = free.pop() if free else Connection(url)
        answer = await connection.ask(requests, number % len(requests), due)
        free.append(connection)
        return answer

    async def load() -> Load:
        due, cpu, random_times = time.perf_counter(), time.process_time(), random.Random(seed)
        begun, asked = due, []
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.append(asyncio.create_task(ask(len(asked), due)))
            due += 1 / rate if evenly else random_times.expovariate(rate)
        answers = await asyncio.gather(*asked)
        taken = time.perf_counter() - begun
        for connection in free:
            connection.close()
        return Load(answers, taken, time.process_time() - cpu)

    return asyncio.run(load())


class Connection:
    """A connection that is kept, and made anew when the server has closed it."""

    def __init__(self, url: str) -> None:
        """Nothing is sent yet."""
        parts = urlsplit(url)
        self._place = parts.hostname, parts.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def ask(self, requests: Sequence[bytes], number: int, due: float) -> Answer:
        """Send one of the requests and read its answer."""
        try:
            status, body, retry = await asyncio.wait_for(self._ask(requests[number]), PATIENCE)
        except (OSError, EOFError, asyncio.TimeoutError):
            self.close()
            return Answer(number, BROKEN, time.perf_counter() - due, b"")
        return Answer(number, status, time.perf_counter() - due, body, retry)

    async def _ask(self, sent: bytes) -> tuple[int, bytes, bool]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._place)
        self._writer.write(sent)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length: ")
        body = await self._reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body, b"retry-after: " in head
