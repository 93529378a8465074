"""`manifest.json` of a bundle, as pydantic models.

Unknown fields are refused. A newer schema is recognised by its version before that.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, REFINERS, GraphRole, Modality
from itr_deploy.bundle.record import Record, SparseRecord

SCHEMA_VERSION: Literal[1] = 1

StorageType = Literal["float16", "float32", "int8"]
"""The type in which a gallery stores its tensors; int8 also stores one scale per vector."""
HeldType = StorageType | Literal["uint8"]
"""The type of the gallery tensors that a graph reads: as they are stored, or the bytes that a
search makes of them in memory (`itr_deploy.runtime.gallery.in_bytes`)."""
Precision = Literal["float32", "float16", "bfloat16"]
"""Type of a bundle's matrix products; steps that half precision would break stay float32."""
Quantization = Literal["int8"]
"""What the matchers' products with constant weights are rounded to, for a CPU."""
IntraSimilarityKind = Literal["pooled_cosine", "neighbour_lists"]
DataType = Literal["float16", "float32", "int8", "uint8", "int64"]
"""Type of a graph's input or output."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name or a path: one line of a size that messages and file systems take."""
Identifier = Annotated[str, Field(max_length=100, pattern=r"^[a-z][a-z0-9_]*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=1, le=1 << 24)]
"""Of an axis or a vocabulary: far beyond what models have, far below an overflow."""
Width = Annotated[int, Field(ge=1, le=1 << 40)]
"""Of a shortlist: one that is wider than a gallery holds all of it."""
Values = Annotated[int, Field(ge=0, le=1 << 32)]
TOP = 10
"""A shortlist is judged by how many of this many best items it holds."""
Setting = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str
"""Value of an option that a matcher was exported with."""


class StoredTensor(SparseRecord):
    """A tensor that a gallery stores for an item.

    Attributes:
        name: Its name among the tensors of its modality.
        width: Size of its last axis.
        per_position: True for one row per region or word, False for one row per item.
        unit: True where every row of an image has length 1, by which an overflow is seen.
    """

    name: Identifier
    width: Size
    per_position: bool = True
    unit: Literal[True] | None = None


class Workspace(Record):
    """Scratch memory of the matcher in float32 values per pair.

    ``per_word * L + per_region * R + per_word_region * L * R``; an estimate, for tiling. L or R is
    1 if a gallery stores nothing per word or region.
    ``cpu_pairs`` is the most pairs that a CPU should score at once, set if more are slower: their
    activations no longer fit its cache.
    """

    per_word: Values = 0
    per_region: Values = 0
    per_word_region: Values = 0
    cpu_pairs: Size | None = None

    def pair_bytes(self, words: int, regions: int) -> int:
        """Bytes for a pair of an image and a text of these sizes."""
        values = self.per_word * words + self.per_region * regions
        return 4 * (values + self.per_word_region * words * regions)


class TensorInfo(Record):
    """An input or output of a graph; a string in ``shape`` names a dynamic axis."""

    name: Identifier
    dtype: DataType
    shape: tuple[Size | Identifier, ...]


class AttentionStep(Record):
    """Where a model attends: once over the words and regions of a pair.

    Attributes:
        step: Its number among the model's steps or layers, from 1.
        attends: ``"text"`` where every word attends to the regions, ``"image"`` where every region
            attends to the words.
    """

    step: int = Field(ge=1, le=1000)
    attends: Modality


class GraphInfo(Record):
    """One ONNX graph.

    ``storage`` is the type of the gallery tensors that it reads, if it scores pairs. ``attention``
    is what the graph that explains pairs gives, in the order of its outputs' second axis; it is
    absent from the file of every other graph.
    """

    role: GraphRole
    file: Name
    opset: int = Field(ge=1, le=100)
    storage: HeldType | None = None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    attention: tuple[AttentionStep, ...] | None = None

    @property
    def is_for_cpu(self) -> bool:
        """Whether it multiplies bytes, which searches on a CPU alone do."""
        return self.storage == "uint8"

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Graphs that explain nothing are written as they were before there was one that does.
        found: dict[str, Any] = dump(self)
        return {name: v for name, v in found.items() if name != "attention" or v is not None}


class FileInfo(Record):
    """Size and checksum of a file of the bundle."""

    bytes: int = Field(ge=0, le=1 << 50)
    sha256: Digest


class ImageItems(SparseRecord):
    """The form of an image: its region features, and what is stored for it.

    ``views`` is the number of vectors in an image's embedding, of which the best counts, if a dual
    encoder makes several. ``max_regions`` is the most that the model takes, if it is bounded.
    ``boxes`` is true where its encoder also reads the regions' boxes and the pictures' sizes.
    ``pictures`` is true where its encoder starts from pixels: an image has no regions, and
    ``feature_dim`` is the width of what the network gives for a part of the picture.
    """

    feature_dim: Size
    regions: Size | None
    tensors: tuple[StoredTensor, ...]
    views: Size | None = None
    max_regions: Size | None = None
    boxes: Literal[True] | None = None
    pictures: Literal[True] | None = None

    @property
    def positions(self) -> int | None:
        """How many regions an image has, if the model fixes that."""
        return self.regions


class TextItems(Record):
    """The form of a text: its words, its length limit, and what is stored for it.

    ``length`` is the padded length if the model fixes one. ``padded_together`` is set if padding
    takes part in the encoding: that many consecutive texts are padded to the longest of them.
    """

    vocab_size: Size
    length: Size | None = None
    padded_together: Size | None = None
    max_tokens: Size
    tensors: tuple[StoredTensor, ...]

    @property
    def positions(self) -> int | None:
        """How many positions a text is padded to, if the model fixes that."""
        return self.length


class NltkWords(Record):
    """nltk's word tokenisation of the lower-cased text, looked up in a vocabulary file.

    ``sentence_splitter`` says which Punkt splits sentences: ``trained`` uses the parameters in the
    file ``punkt``; ``untrained`` is nltk's splitter without parameters. With ``ascii_case`` only A
    to Z are lower-cased, as programs under Python 2 did; it is absent from the file if it is False.
    """

    kind: Literal["nltk_words"] = "nltk_words"
    vocabulary: Name
    sentence_splitter: Literal["trained", "untrained"]
    punkt: Name | None = None
    ascii_case: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the bundle that it reads."""
        return (self.vocabulary,) if self.punkt is None else (self.vocabulary, self.punkt)

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What most families have is written as it was before there was a choice: encodings of one
        # bundle are those of another while their text processing is written alike.
        found: dict[str, Any] = dump(self)
        return found if self.ascii_case else {n: v for n, v in found.items() if n != "ascii_case"}


class WordPiece(SparseRecord):
    """BERT's WordPiece over a ``vocab.txt``.

    Padded or cut to the texts' fixed length, if the model has one. ``ideographs`` is ``"joined"``
    where a run of Chinese characters is one word; else each is a word of its own.
    """

    kind: Literal["wordpiece"] = "wordpiece"
    vocabulary: Name
    lower_case: bool
    ideographs: Literal["joined"] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the bundle that it reads."""
        return (self.vocabulary,)


TextProcessing = Annotated[NltkWords | WordPiece, Field(discriminator="kind")]


class Pipeline(Record):
    """Defaults of a search; each can be overridden per call.

    ``candidates`` is the shortlist's width, None for every item; ``image_query_candidates``
    replaces it for image queries, if `tune` found that they need another width. ``prefilter`` and
    ``image_query_prefilter`` are the widths of the wider shortlist that the bundle's prefilter
    narrows; a query skips the prefilter if its width is None or not larger than what it leaves.
    ``refine`` and ``image_query_refine`` are the widths of the shortlist that the bundle's refiner,
    a larger part of the matcher, narrows to ``candidates``, and are skipped likewise; both are
    absent from the file of a bundle without a refiner. ``text_query_projection`` and
    ``image_query_projection`` name the file of a bilinear form that replaces the coarse embeddings'
    dot product, if `tune` found one that shortlists better.
    """

    candidates: Width | None = 200
    image_query_candidates: Width | None = None
    prefilter: Width | None = None
    image_query_prefilter: Width | None = None
    refine: Width | None = None
    image_query_refine: Width | None = None
    text_query_projection: Name | None = None
    image_query_projection: Name | None = None

    def width(self, query: Modality) -> int | None:
        """The shortlist's width for queries of a modality, None for every item."""
        own = self.image_query_candidates if query == "image" else None
        return self.candidates if own is None else own

    def width_for(self, query: Modality, hits: int) -> int | None:
        """The shortlist's width for a number of hits.

        A refiner's shortlist is little wider than the `TOP` hits that it is judged by: more hits
        take as much more of it, up to all that the refiner reads.
        """
        width, refine = self.width(query), self.refine_width(query)
        if width is None or refine is None or hits <= TOP:
            return width
        return min(math.ceil(width * hits / TOP), max(width, refine, hits))

    def prefilter_width(self, query: Modality) -> int | None:
        """The width of the shortlist that the prefilter reads, None for no prefilter."""
        own = self.image_query_prefilter if query == "image" else None
        return self.prefilter if own is None else own

    def refine_width(self, query: Modality) -> int | None:
        """The width of the shortlist that the refiner reads, None for no refiner."""
        own = self.image_query_refine if query == "image" else None
        return self.refine if own is None else own

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Releases that know of no refiner read the bundles that have none.
        found: dict[str, Any] = dump(self)
        new = {"refine", "image_query_refine"}
        return {name: v for name, v in found.items() if v is not None or name not in new}

    @property
    def projections(self) -> dict[Modality, str]:
        """The files of the projections, by the query's modality."""
        named: dict[Modality, str | None] = {
            "text": self.text_query_projection,
            "image": self.image_query_projection,
        }
        return {query: name for query, name in named.items() if name is not None}


class Provenance(Record):
    """Where the bundle came from."""

    checkpoint: str
    checkpoint_sha256: str
    created: str
    versions: dict[str, str]


class ProfileEvidence(Record):
    """The data that a profile was made on, and the checkpoint it was made from.

    ``data_sha256`` is the checksum of the features and captions, see `Split.digest`.
    """

    checkpoint_sha256: str
    data_sha256: str
    split: str
    images: int
    captions: int


class Pruning(Record):
    """What was left out of the graphs because of a profile, by the family's names for its parts.

    ``closed`` parts are held at 0; ``removed`` parts are not computed, as only closed ones led to
    them. At threshold 0 scores are exact on the data of the evidence.
    """

    threshold: float = Field(ge=0, lt=1)
    closed: tuple[str, ...]
    removed: tuple[str, ...]
    evidence: ProfileEvidence


class RerankDirection(Record):
    """How one direction is re-ranked.

    Attributes:
        rows: K, the query plus the candidates that are re-scored.
        threshold: Edges are left out unless their share of their row is above it.
    """

    rows: int = Field(ge=2, le=1 << 20)
    threshold: float = Field(ge=0, lt=1)


class Reranker(Record):
    """A re-ranker of the bundle's matcher.

    Attributes:
        family: Its name.
        text_to_image: For a text query over images.
        image_to_text: For an image query over texts.
        pillars: L, the query plus its pillars, the width of a block of affinities.
        neighbours: C, the length of the neighbour lists whose overlap defines the edges.
        heads: Number of attention heads, which the weights do not show.
        intra_similarity: How the similarity within a modality is computed: the cosine of the
            bundle's pooled embeddings, or lists that the user gives with the gallery. Called
            ``pi`` in the file, LeaPRR's name for it.
        base_encoding_id: ``encoding_id`` of the matcher whose rankings it re-ranks.
        provenance: Where it came from.
    """

    model_config = ConfigDict(populate_by_name=True)

    family: str
    text_to_image: RerankDirection
    image_to_text: RerankDirection
    pillars: int = Field(ge=2, le=1 << 20)
    neighbours: Size
    heads: Size
    intra_similarity: IntraSimilarityKind = Field(validation_alias="pi", serialization_alias="pi")
    base_encoding_id: str
    provenance: Provenance

    def direction(self, query: Modality) -> RerankDirection:
        """The settings for queries of this modality."""
        return self.text_to_image if query == "text" else self.image_to_text

    def depth(self, query: Modality) -> int:
        """The least number of the matcher's hits that re-ranking needs."""
        return max(self.direction(query).rows - 1, self.pillars - 1, self.neighbours)


class Member(Record):
    """One matcher of an ensemble, its share of the score, and where it came from."""

    family: str
    options: dict[Name, Setting]
    weight: float = Field(gt=0, le=1e6, allow_inf_nan=False)
    encoding_id: str
    provenance: Provenance


class Front(Record):
    """The dual encoder in front of a cascade's matcher: its vectors are the coarse embedding.

    Attributes:
        family: Its family.
        options: What it was exported with.
        members: Where it came from, if it is an ensemble; else empty.
        encoding_id: That of its own bundle.
        provenance: Where it came from.
        matcher_words: Size of the matcher's vocabulary: words from this number on are known to the
            dual encoder alone.
    """

    family: Name
    options: dict[Name, Setting]
    members: tuple[Member, ...] = ()
    encoding_id: str
    provenance: Provenance
    matcher_words: Size


class Manifest(Record):
    """The whole manifest.

    ``encoding_id`` identifies what determines the stored tensors (weights, options, text
    processing). A gallery fits every bundle with the same one, whatever its ``precision`` and
    ``quantization``, as encoders are not quantised.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    family: Name
    options: dict[Name, Setting]
    precision: Precision = "float32"
    quantization: Quantization | None = None
    members: tuple[Member, ...] = ()
    front: Front | None = None
    embedding_dim: Size
    images: ImageItems
    texts: TextItems
    workspace: Workspace
    text_processing: TextProcessing
    graphs: dict[Identifier, GraphInfo]
    pipeline: Pipeline = Pipeline()
    pruning: Pruning | None = None
    reranker: Reranker | None = None
    encoding_id: str
    provenance: Provenance
    files: dict[Name, FileInfo]

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Bundles that are no cascades can be read by versions that know of none.
        found: dict[str, Any] = dump(self)
        return {name: v for name, v in found.items() if name != "front" or v is not None}

    @property
    def matching(self) -> Precision | Quantization:
        """The type in which the matchers' products are computed."""
        return self.quantization or self.precision

    def graph(self, role: GraphRole, storage: HeldType | None = None) -> str:
        """Name of the graph with this role and storage type.

        Raises:
            KeyError: The bundle has no such graph.
        """
        for name, graph in self.graphs.items():
            if graph.role == role and graph.storage == storage:
                return name
        raise KeyError(f"{role} ({storage})")

    def items(self, modality: Modality) -> ImageItems | TextItems:
        """The form of a modality's items."""
        return self.images if modality == "image" else self.texts

    @property
    def is_dual_encoder(self) -> bool:
        """Whether scores are products of the embeddings, and there is no matcher."""
        return not any(graph.role in MATCHERS.values() for graph in self.graphs.values())

    def embedding_width(self, modality: Modality) -> int:
        """Values of an item's embedding: those of all its views."""
        views = self.images.views or 1 if modality == "image" else 1
        return self.embedding_dim * views

    @property
    def storages(self) -> tuple[StorageType, ...]:
        """The types in which a gallery of this bundle may store its tensors."""
        if self.is_dual_encoder:
            return ("float32",)
        found = (graph.storage for graph in self.graphs.values())
        return tuple(dict.fromkeys(s for s in found if s is not None and s != "uint8"))

    @property
    def has_prefilter(self) -> bool:
        """Whether the bundle can narrow a wide shortlist before its matcher."""
        return any(graph.role in PREFILTERS.values() for graph in self.graphs.values())

    @property
    def has_refiner(self) -> bool:
        """Whether the bundle can narrow a shortlist by a larger part of its matcher."""
        return any(graph.role in REFINERS.values() for graph in self.graphs.values())
