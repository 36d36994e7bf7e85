"""As much of ComfyUI's schema V3 (`comfy_api.latest`) as the node pack uses, by its rules, written anew.

Inputs take the keywords that ComfyUI's take, and nothing else; a node's class answers the questions of the older schema
(INPUT_TYPES, RETURN_TYPES, FUNCTION ...), which ComfyUI's executor asks.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from typing import Any

# the keywords of every kind's input, beside those that all have
_COMMON = {"display_name", "optional", "tooltip", "lazy"}
_WIDGET = {"default", "socketless", "force_input"}
_KEYWORDS: dict[str, set[str]] = {
    "BOOLEAN": {"label_on", "label_off", *_WIDGET},
    "INT": {"min", "max", "step", "control_after_generate", "display_mode", *_WIDGET},
    "FLOAT": {"min", "max", "step", "round", "display_mode", *_WIDGET},
    "COMBO": {"options", *_WIDGET},
    "STRING": {"multiline", "placeholder", "dynamic_prompts", *_WIDGET},
}


class Input:
    """An input of a node. options: as the older schema's dictionary has them."""

    def __init__(self, kind: str, name: str, given: dict[str, Any]) -> None:
        unknown = set(given) - _COMMON - _KEYWORDS.get(kind, set())
        assert not unknown, f"{name}: ComfyUI's {kind} input takes no {unknown}"
        self.id, self.io_type, self.optional = name, kind, bool(given.pop("optional", False))
        self.options = {key: value for key, value in given.items() if value is not None}


@dataclass
class Output:
    """An output of a node."""

    io_type: str
    display_name: str | None = None
    tooltip: str | None = None


def kind_of(io_type: str) -> type:
    """A type of inputs and outputs, such as `io.Image` or `io.Custom("MINE")`."""

    class Kind:
        @staticmethod
        def Input(id: str, **given: Any) -> Input:
            return Input(io_type, id, given)

        @staticmethod
        def Output(display_name: str | None = None, tooltip: str | None = None) -> Output:
            return Output(io_type, display_name, tooltip)

    return Kind


@dataclass
class Schema:
    """What a node says of itself."""

    node_id: str
    display_name: str
    category: str
    description: str
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    is_output_node: bool = False

    def __post_init__(self) -> None:
        names = [given.id for given in self.inputs]
        assert len(names) == len(set(names)), f"{self.node_id}: inputs of one name"


class NodeOutput:
    """What a node gives: `result` is a value for each output."""

    def __init__(self, *values: Any) -> None:
        self.result = values


class _AnswersOfTheOlderSchema(type):
    """What ComfyUI asks of every node's class."""

    @property
    def FUNCTION(cls) -> str:
        return "run_normalized"

    @property
    def RETURN_TYPES(cls) -> tuple[str, ...]:
        return tuple(output.io_type for output in cls.define_schema().outputs)  # type: ignore[attr-defined]

    @property
    def RETURN_NAMES(cls) -> tuple[str, ...]:
        outputs = cls.define_schema().outputs  # type: ignore[attr-defined]
        return tuple(output.display_name or output.io_type for output in outputs)

    @property
    def OUTPUT_NODE(cls) -> bool:
        return bool(cls.define_schema().is_output_node)  # type: ignore[attr-defined]


class ComfyNode(metaclass=_AnswersOfTheOlderSchema):
    """The base of all nodes; nothing is kept on it, for ComfyUI makes no instance that would live on."""

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, **given: Any) -> bool | str:
        """A node may override it: the inputs that it takes by name are then left to it."""
        raise NotImplementedError

    @classmethod
    def execute(cls, **given: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple[Any, ...]]]:
        inputs: dict[str, dict[str, tuple[Any, ...]]] = {"required": {}}
        for given in cls.define_schema().inputs:
            group = inputs.setdefault("optional" if given.optional else "required", {})
            group[given.id] = (given.io_type, given.options)
        return inputs

    @classmethod
    def run_normalized(cls, **given: Any) -> tuple[Any, ...]:
        made = cls.execute(**given)
        assert isinstance(made, NodeOutput), f"{cls.__name__} gave {type(made)}"
        return made.result


class ComfyExtension:
    """What a pack's `comfy_entrypoint` returns."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        raise NotImplementedError


def module() -> types.ModuleType:
    """The module `comfy_api.latest`."""
    made = types.ModuleType("comfy_api.latest")
    io = types.SimpleNamespace(Schema=Schema, NodeOutput=NodeOutput, ComfyNode=ComfyNode, Custom=kind_of)
    for name, kind in {
        "Image": "IMAGE",
        "Mask": "MASK",
        "Int": "INT",
        "Float": "FLOAT",
        "Boolean": "BOOLEAN",
        "Combo": "COMBO",
        "String": "STRING",
    }.items():
        setattr(io, name, kind_of(kind))
    made.io, made.ComfyExtension = io, ComfyExtension  # type: ignore[attr-defined]
    return made


LATEST = module()  # one for all hosts, for the pack's modules are imported once
