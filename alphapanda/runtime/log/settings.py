"""Settings of the broker and of how we speak to it. None of them decides results."""

from pydantic import BaseModel, ConfigDict, Field


class KafkaSettings(BaseModel):
    """The broker: Redpanda, or any with the Kafka API. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field("localhost:19092", min_length=1, description="host:port of the broker, several with commas")
    group_id_prefix: str = Field("alphapanda", min_length=1, description="first part of every consumer group's name")
    linger_ms: float = Field(0, ge=0, le=1000, description="how long the client gathers records before it sends them")
    fetch_wait_ms: int = Field(50, ge=1, le=1000, description="how long the broker holds a fetch that finds nothing")
    request_timeout_s: float = Field(30, gt=0, description="how long a question to the broker is retried")
    delivery_timeout_s: float = Field(120, gt=0, description="how long a flush may see no record delivered before it fails")
    read_ahead_kb: int = Field(8_192, ge=64, description="most that a reader holds of a partition and has not handed out")
    send_ahead_kb: int = Field(262_144, ge=64, description="most that a writer holds of what the broker has not taken yet")
    replicas: int = Field(1, ge=1, le=7, description="copies of each partition; with two or more, two must have each record")
