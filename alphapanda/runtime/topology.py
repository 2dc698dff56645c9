"""The pipeline's table as text: for `alphapanda topology`, and for the README's diagram."""

from alphapanda.contracts.topics import TOPICS
from alphapanda.pipeline import DOOR, PIPELINE, Stage


def as_dict() -> list[dict[str, object]]:
    """One entry a stage, JSON-able."""
    return [
        {"stage": stage.rank, "room": stage.room, "reads": [*_reads(stage)], "hears": [*stage.hears],
         "writes": [*dict.fromkeys(stage.writes.values())], "key": stage.key}
        for stage in PIPELINE
    ]  # fmt: skip


def _reads(stage: Stage) -> tuple[str, ...]:
    return (*DOOR, *stage.reads) if stage.rank else ()


def mermaid() -> str:
    """The flow as a mermaid diagram: rooms, and the topics between them; feedback is dotted."""
    lines = ["flowchart LR"]
    for stage in PIPELINE:
        lines.append(f"  {stage.room}[{stage.room}]")
    for reader in PIPELINE[1:]:
        for writer in PIPELINE:
            for topic in dict.fromkeys(writer.writes.values()):
                if topic in reader.reads or topic == "market.ticks":
                    lines.append(f"  {writer.room} -->|{topic}| {reader.room}")
                elif topic in reader.hears:
                    lines.append(f"  {writer.room} -.->|{topic}, late| {reader.room}")
    return "\n".join(lines)


def topics() -> list[dict[str, object]]:
    """The topic table, JSON-able."""
    return [{"topic": name, **topic.model_dump()} for name, topic in TOPICS.items()]
