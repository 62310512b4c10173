"""The chat: replies that stream, and a WebSocket."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from lockwatch import Claims, JWTAuth, LockWatch, RateLimit, by_user

from . import bot, plans

router = APIRouter(tags=["chat"])


class Question(BaseModel):
    """What a user asks."""

    text: str = Field(min_length=1, max_length=2000)


@router.post("/chat", dependencies=[Depends(plans.messages), Depends(plans.tokens)], response_class=StreamingResponse)
async def chat(
    question: Question,
    request: Request,
    claims: Annotated[Claims, Depends(JWTAuth())],
    max_tokens: Annotated[int, Query(ge=1, le=plans.MOST_TOKENS)] = 256,
) -> StreamingResponse:
    """Answer a question, word by word."""

    async def reply() -> AsyncIterator[str]:
        used = bot.count_tokens(question.text)
        for piece in bot.words(bot.answer(question.text, datetime.now(UTC))):
            if used >= max_tokens:
                break
            used += 1
            # Noted before each word, so that a client that leaves early pays for what it got.
            await request.state.lockwatch.settle(used)
            yield piece

    return StreamingResponse(reply(), media_type="text/plain")


@router.get("/usage", dependencies=[Depends(plans.tokens_left)])
async def usage(request: Request, claims: Annotated[Claims, Depends(JWTAuth())]) -> dict[str, str | int]:
    """The plan of who asks, and what is left of it today."""
    left = next(decision.remaining for decision in request.state.lockwatch.decisions if decision.policy == "tokens")
    return {"plan": claims["plan"], "tokens_left": left}


@router.websocket("/chat/socket", dependencies=[Depends(RateLimit("3 concurrent", key=by_user))])
async def talk(socket: WebSocket, claims: Annotated[Claims, Depends(JWTAuth(locations=("header", "subprotocol")))]) -> None:
    """Answer messages until the client leaves, or its token ends."""
    lockwatch: LockWatch = socket.app.state.lockwatch
    await socket.accept()
    async for text in socket.iter_text():
        reply = bot.answer(text[:2000], datetime.now(UTC))
        message = await socket.state.lockwatch.take(plans.of(claims, plans.MESSAGES), key=by_user)
        if message.refuses:
            await socket.send_json({"error": "slow down", "retry_after": message.retry_after})
            continue
        cost = bot.count_tokens(text) + bot.count_tokens(reply)
        spent = await lockwatch.take("tokens", claims.subject, plans.of(claims, plans.TOKENS), cost=cost)
        await socket.send_json({"error": "no tokens left today"} if spent.refuses else {"reply": reply})
