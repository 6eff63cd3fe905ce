"""What a home's tenants may have, as a person writes it: `rayorch tenants apply FILE`."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from rayorch.errors import SpecError
from rayorch.spec.fields import Bytes, Name, SpecModel, shown

Count = Annotated[int, Field(ge=1, strict=True)]


class TenantSpec(SpecModel):
    """What one tenant may have; nothing said means no limit of its own."""

    weight: Annotated[float, Field(gt=0.0, le=1000.0)] = 1.0
    slots: Count | None = None
    memory: Bytes | None = None
    usd: Annotated[float, Field(ge=0.0)] | None = None
    usd_per: Literal["day", "month"] = "month"
    runs: Count | None = None


class TenantsSpec(SpecModel):
    """The tenants of a home, and the limits on what is outside of it."""

    tenants: dict[Name, TenantSpec] = Field(default_factory=dict)
    others: TenantSpec = TenantSpec()
    limits: dict[Name, Count] = Field(default_factory=dict)

    @classmethod
    def load(cls, data: object, file: str) -> Self:
        """Build from what a file holds. Raises: SpecError."""
        if not isinstance(data, dict):
            fix = "for example:\n  tenants:\n    finance: {weight: 2, slots: 100}"
            raise SpecError("a mapping is needed", value=shown(data), where=file, fix=fix)
        fields: dict[str, Any] = {str(key): value for key, value in data.items()}
        try:
            return cls.of("", "", fields)
        except SpecError as error:
            raise error.located("", "", file) from None
