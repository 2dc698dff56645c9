"""The topic table, `topics.yaml`: partitions, retention, key, cleanup and consumer groups of every topic."""

from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field


class Topic(BaseModel):
    """One topic."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partitions: int = Field(ge=1)
    retention_ms: int = Field(ge=-1, description="-1: for ever")
    key: str
    cleanup: Literal["delete", "compact"]
    consumer_groups: tuple[str, ...] = Field(description="services that read it; a group is {group_id_prefix}.{service}.{shard}")


def load_topics() -> dict[str, Topic]:
    """Every topic by name, in flow order."""
    table = yaml.safe_load(resources.files("alphapanda.contracts").joinpath("topics.yaml").read_text("utf-8"))
    return {name: Topic.model_validate(values) for name, values in table.items()}


TOPICS = load_topics()
