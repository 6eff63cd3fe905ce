import pytest

from rayorch.observe.figures import needs_text


@pytest.mark.parametrize(
    ("cores", "gpus", "said"),
    [
        (1.0, 0.0, "1 core, 2.00 GiB of memory"),
        (0.5, 1.0, "0.5 cores, 2.00 GiB of memory, 1 GPU"),
        (4.0, 0.25, "4 cores, 2.00 GiB of memory, 0.25 GPUs"),
    ],
)
def test_what_a_task_has_to_itself(cores: float, gpus: float, said: str) -> None:
    assert needs_text(cores, 2 << 30, gpus) == said
