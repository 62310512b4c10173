"""What only administrators may do. Each of their acts is in the audit log."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import BaseModel

from lockwatch import AuditQuery, Claims, JWTAuth, LockWatch

from .accounts import Accounts

ADMIN = JWTAuth(roles=["admin"])
router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(ADMIN)])


class Plan(BaseModel):
    """The plan of an account."""

    plan: Literal["free", "pro"]


class Entry(BaseModel):
    """A row of the audit log."""

    timestamp: datetime
    action: str
    outcome: str
    user_id: str | None
    ip: str | None
    endpoint: str | None
    status_code: int | None
    cursor: str


@router.put("/accounts/{name}/plan")
async def change_plan(name: str, plan: Plan, request: Request, claims: Annotated[Claims, Depends(ADMIN)]) -> Plan:
    """Change a plan. Tokens say so from their next refresh on."""
    accounts: Accounts = request.app.state.accounts
    lockwatch: LockWatch = request.app.state.lockwatch
    if not accounts.change_plan(name, plan.plan):
        raise HTTPException(404, "no such account")
    await lockwatch.audit.record(action="plan.changed", actor=claims.subject, target=f"account:{name}", details={"plan": plan.plan})
    return plan


@router.get("/audit")
async def audit(
    request: Request,
    user: str | None = None,
    ip: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Entry]:
    """Rows of the audit log, newest first; `cursor` of the last one goes on."""
    lockwatch: LockWatch = request.app.state.lockwatch
    await lockwatch.flush()
    try:
        rows = await lockwatch.audit.query(AuditQuery(user_id=user, ip=ip, cursor=cursor, limit=limit))
    except ValueError as error:  # a cursor that is none, or a filter that nothing can match
        raise HTTPException(400, str(error)) from error
    return [Entry.model_validate(row, from_attributes=True) for row in rows]
