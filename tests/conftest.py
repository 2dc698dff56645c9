"""What several test modules share: brokers, and which tests coverage leaves alone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from alphapanda.runtime.log.settings import KafkaSettings
from tests.kafka_broker import Broker, BrokerUnavailableError

ADDRESS = "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep coverage from tests that are marked so; without coverage its own mark is an error."""
    for item in items:
        if item.get_closest_marker("untraced") and not config.getoption("no_cov"):
            item.add_marker("no_cover")


def _without_broker(why: str) -> NoReturn:
    """Skip, saying so; where everything must be tested a skip is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"tests with a broker could not run: {why}")
    pytest.skip(f"no broker: {why}")


def _answers(address: str) -> bool:
    try:
        return bool(AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def _compose_address() -> str | None:
    """Where the Redpanda of docker-compose.yml answers; None where no engine runs, or it is not up."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        return None
    address = str(KafkaSettings.model_fields["bootstrap_servers"].default)
    return address if _answers(address) else None


def _start() -> Broker:
    try:
        return Broker().start()
    except BrokerUnavailableError as error:
        _without_broker(str(error))


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers: the environment's, else those of `make up`, else of a broker of our own for this session."""
    given = os.environ.get(ADDRESS)
    if given:
        if not _answers(given):
            _without_broker(f"{ADDRESS} names {given}, which does not answer")
        yield given
    elif compose := _compose_address():
        yield compose
    else:
        with_own = _start()
        try:
            yield with_own.bootstrap
        finally:
            with_own.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A broker of the test's own, to be killed and restarted."""
    own = _start()
    try:
        yield own
    finally:
        own.close()
