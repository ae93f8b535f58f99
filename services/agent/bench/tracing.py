"""What tracing costs a trivial run: the same mesh with spans and without, in turns."""

import time

from services.agent.bench.measure import Measure, compared, quantile
from services.agent.bench.mesh import SCRIPT, WARM_UP, run_many, run_once
from services.agent.bench.stack import running_stack

ROUNDS = 6
RUNS_PER_ROUND = 25
RUNS_AT_ONCE = 128


async def measure() -> list[Measure]:
    """Two stacks side by side take turns, so that what else the machine does hits both alike."""
    single: dict[bool, list[float]] = {True: [], False: []}
    rates: dict[bool, list[float]] = {True: [], False: []}
    async with running_stack(SCRIPT) as traced, running_stack(SCRIPT, WAYSTATION_TRACING="false") as plain:
        stubs = {True: traced, False: plain}
        for stub in stubs.values():
            for number in range(WARM_UP):
                await run_once(stub, f"repeat after me: warm-up {number}")
        for turn in range(ROUNDS):
            for is_traced, stub in stubs.items():
                for number in range(RUNS_PER_ROUND):
                    single[is_traced].append(await run_once(stub, f"repeat after me: {turn} and {number}"))
                started = time.perf_counter()
                await run_many(stub, f"repeat after me: turn {turn}", RUNS_AT_ONCE)
                rates[is_traced].append(RUNS_AT_ONCE / (time.perf_counter() - started))
    n = ROUNDS * RUNS_PER_ROUND
    return [
        compared("tracing.trivial_run_p50", quantile(single[True], 0.5), "ms", "off", quantile(single[False], 0.5), n),
        compared(
            "tracing.runs_per_s", quantile(rates[True], 0.5), "runs/s", "off", quantile(rates[False], 0.5), ROUNDS
        ),
    ]
