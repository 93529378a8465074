"""Triton's backend of ONNX graphs, which its wheel lacks, as a model of the Python backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from itr_deploy.runtime.backends.sessions import open_session


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self.inputs = [entry["name"] for entry in config["input"]]
        self.outputs = [entry["name"] for entry in config["output"]]
        version = Path(args["model_repository"]) / args["model_version"]
        self.session = open_session(version / "model.onnx")

    def execute(self, requests: list[Any]) -> list[Any]:
        return [pb_utils.InferenceResponse(self.run(request)) for request in requests]

    def run(self, request: Any) -> list[Any]:
        given = {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }
        found = self.session.run(self.outputs, given)
        return [pb_utils.Tensor(*pair) for pair in zip(self.outputs, found, strict=True)]
