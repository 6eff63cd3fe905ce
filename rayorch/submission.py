"""What the control host is told of a run when it is asked for."""

from typing import Final

from rayorch.core.cheap import Cheap
from rayorch.core.facts import RunSubmitted
from rayorch.core.values import RetryLimits, StageShape
from rayorch.errors import SpecError
from rayorch.ids import RunId, TenantId
from rayorch.program import Program
from rayorch.spec import Deadline, Objective, PipelineSpec, Standing
from rayorch.spec.standing import ALWAYS, hours_of

_DEADLINE: Final = "say by when: --deadline 12h, or objective=ro.Deadline(...)"


def submission(
    run: RunId,
    spec: PipelineSpec,
    program: Program,
    version: str,
    standing: Standing | None = None,
    objective: Objective | None = None,
) -> RunSubmitted:
    """Return what the control host is told of a run.

    It has its pipeline's standing and objective, or others. Raises: SpecError.
    """
    retry = spec.retry
    whose, goal = standing or spec, objective or spec.objective
    deadline_s = goal.within.total_seconds() if isinstance(goal, Deadline) else 0.0
    if whose.price_max is not None and not deadline_s:
        problem = "a run that waits for a price has a deadline, or it might never begin"
        raise SpecError(problem, spec.name, "", "price_max", f"{whose.price_max:g}", fix=_DEADLINE)
    return RunSubmitted(
        run=run,
        pipeline=spec.name,
        version=version,
        stages=tuple(
            StageShape(
                name=stage.name,
                cores=stage.resources.cores,
                memory_bytes=stage.resources.memory_bytes,
                gpus=stage.resources.gpus,
                timeout_s=retry.timeout_s or 0.0,
                uses=tuple(sorted(stage.resources.uses.items())),
                sinks=tuple(edge.sink for edge in stage.sinks),
                after=program.after(stage.index),
            )
            for stage in program.stages
        ),
        sinks=tuple(sink.url for sink in program.sinks),
        owner=spec.owner,
        retry=RetryLimits(
            attempts_max=retry.attempts_max,
            backoff_s=retry.backoff_s,
            backoff_s_max=retry.backoff_s_max,
            strikes_max=retry.strikes_max,
        ),
        tenant=TenantId(whose.tenant),
        priority=whose.priority,
        deadline_s=deadline_s,
        cheap=_rule(whose),
    )


def _rule(standing: Standing) -> Cheap | None:
    if standing.cheap == ALWAYS and standing.price_max is None:
        return None
    return Cheap(*hours_of(standing.cheap), standing.price_max)
