"""What the process uses of its machine."""

import asyncio
import time

from shared.telemetry import attributes
from shared.telemetry.resources import SAMPLE_S, ResourceSampler


def test_a_sample_says_what_is_used() -> None:
    sampler = ResourceSampler()
    assert sampler.attributes == {}
    sample = sampler.sample()
    assert sample.rss_bytes > 1_000_000 and sample.threads >= 1 and sample.open_files > 0
    assert sampler.attributes[attributes.PROCESS_RSS] == sample.rss_bytes
    assert set(sampler.attributes) <= {value for name, value in vars(attributes).items() if name.isupper()}


def test_the_newest_sample_is_read_from_memory_until_it_is_old() -> None:
    now = [100.0]
    sampler = ResourceSampler(clock=lambda: now[0])
    first = sampler.latest()
    assert sampler.latest() is first
    now[0] += 3 * SAMPLE_S
    assert sampler.latest() is not first


async def test_an_event_loop_that_was_held_up_is_late() -> None:
    sampler = ResourceSampler()
    sampling = asyncio.create_task(sampler.run())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251  # this is what is measured
    for _ in range(5):
        await asyncio.sleep(0)  # the loop's turns in which the tick that is due is run
    assert 0.1 < sampler.sample().event_loop_lag_s < 5
    assert sampler.sample().event_loop_lag_s == 0
    sampling.cancel()
