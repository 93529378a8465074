from __future__ import annotations

from itr_deploy.model_repository.protobuf import Word, text_of

EXPECTED = r"""
name: "a \042b\042 \134 \303\274\012"
count: 3
exact: true
kind: KIND_CPU
dims: [ -1, 4 ]
files: [ "a", "b" ]
none: []
inner {
  deeper {
    shape: []
  }
}
entry {
  key: "a"
}
entry {
  key: "b"
}
"""


def test_a_message_is_written_field_by_field() -> None:
    message = {
        "name": 'a "b" \\ ü\n',
        "count": 3,
        "exact": True,
        "kind": Word("KIND_CPU"),
        "dims": [-1, 4],
        "files": ["a", "b"],
        "none": [],
        "inner": {"deeper": {"shape": []}},
        "entry": [{"key": "a"}, {"key": "b"}],
    }
    assert text_of(message) == EXPECTED.lstrip()
