"""Encoded texts that are kept for when they are asked for again."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from itr_deploy.bundle.manifest import TextItems
from itr_deploy.errors import InputError
from itr_deploy.runtime.encoding.encoded import Block, Encoded, Rows, length_groups

Encode = Callable[[Sequence[str]], Encoded]

MOST_TEXTS = 256
"""Texts of one call that are kept: so many more are no queries that come again, but a data set."""
BESIDE = 2048
"""Bytes that Python takes for an encoded text beside its arrays' values."""


class RememberedTexts:
    """Encodes texts; those that were asked for last it does not encode again.

    A recurrent encoder reads all of its weights for every word, so that one text takes as long as
    scoring a dozen images. Safe to use from several threads.
    """

    def __init__(self, encode: Encode, texts: TextItems, budget: int) -> None:
        """Keep nothing yet.

        Args:
            encode: Encodes texts, as `Matcher.encode_texts` does.
            texts: The bundle's description of texts.
            budget: Bytes of encoded texts to keep, with the texts; 0 for none.
        """
        self._encode, self._texts, self._budget = encode, texts, budget
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Texts as `Matcher.encode_texts` encodes them, but for last bits.

        These differ where a text was encoded along with others before.

        Raises:
            InputError: A text is empty or too long.
        """
        if not self._remembers(texts):
            return self._encode(texts)
        known = self._known(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if len(missing) == len(texts):
            encoded = self._encode(texts)
            self._keep(missing, encoded)
            return encoded
        if missing:
            try:
                encoded = self._encode(missing)
            except InputError:
                return self._encode(texts)  # which says which of all of them is wrong
            known |= self._keep(missing, encoded)
        return self._joined([known[text] for text in texts])

    def _remembers(self, texts: Sequence[str]) -> bool:
        if self._budget <= 0 or not isinstance(texts, list | tuple):
            return False
        if not 0 < len(texts) <= MOST_TEXTS:
            return False
        # Where padding takes part, what a text is depends on what it is encoded with.
        if len(texts) > 1 and self._texts.padded_together is not None:
            return False
        return all(isinstance(text, str) for text in texts)  # else the encoder says what is wrong

    def _known(self, texts: Sequence[str]) -> dict[str, Encoded]:
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
            for text in found:
                self._kept.move_to_end(text)
        return found

    def _keep(self, texts: Sequence[str], encoded: Encoded) -> dict[str, Encoded]:
        made = {text: self._alone(encoded, number) for number, text in enumerate(texts)}
        with self._lock:
            for text, one in made.items():
                if text not in self._kept:
                    self._kept[text] = one
                    self._bytes += kept_bytes(text, one)
            while self._bytes > self._budget:
                self._bytes -= kept_bytes(*self._kept.popitem(last=False))
        return made

    def _alone(self, encoded: Encoded, number: int) -> Encoded:
        """One of several texts, without the others' padding and in memory of its own."""
        one = encoded.take(np.array([number]))
        (block,) = one.blocks
        assert block.lengths is not None
        positions = self._texts.length or int(block.lengths[0])
        tensors = {
            # What was taken is a copy already.
            name: tensor[:, :positions].copy()
            if tensor.ndim == 3 and tensor.shape[1] > positions
            else tensor
            for name, tensor in block.tensors.items()
        }
        return Encoded(
            one.modality,
            one.embedding,
            (Block(block.rows, tensors, block.lengths),),
            one.encoding_id,
        )

    def _joined(self, each: Sequence[Encoded]) -> Encoded:
        """Texts in blocks of similar length, as an encoder gives them."""
        if len(each) == 1:
            return each[0]
        blocks = [one.blocks[0] for one in each]
        lengths = np.concatenate([block.lengths for block in blocks if block.lengths is not None])
        return Encoded(
            "text",
            np.concatenate([one.embedding for one in each]),
            tuple(
                _block(rows, lengths[rows], [blocks[row] for row in rows])
                for rows in length_groups(lengths, self._texts.length)
            ),
            each[0].encoding_id,
        )


def _block(rows: Rows, lengths: Rows, own: Sequence[Block]) -> Block:
    """Blocks of one text each as one, padded with zeros."""
    positions = max(block.positions for block in own)
    tensors = {}
    for name, first in own[0].tensors.items():
        if first.ndim == 3:
            tensors[name] = np.zeros((len(own), positions, first.shape[2]), first.dtype)
            for place, block in enumerate(own):
                tensors[name][place, : block.positions] = block.tensors[name][0]
        else:
            tensors[name] = np.concatenate([block.tensors[name] for block in own])
    return Block(rows, tensors, lengths)


def kept_bytes(text: str, one: Encoded) -> int:
    """Bytes that a text takes that is kept: a short one of a small model mostly Python's own."""
    arrays = sum(array.nbytes for array in one.blocks[0].arrays)
    return BESIDE + sys.getsizeof(text) + one.embedding.nbytes + arrays
