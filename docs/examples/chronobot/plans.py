"""What each plan may use. The plan of a request is the claim `plan` of its token."""

from fastapi import Request

from lockwatch import Claims, RateLimit, by_user

MESSAGES = {"free": "20/minute", "pro": "300/minute", "*": "5/minute"}
TOKENS = {"free": "tokens=2000/day", "pro": "tokens=200000/day", "*": "tokens=100/day"}
MOST_TOKENS = 1000


def of(claims: Claims, limits: dict[str, str]) -> str:
    """The limit of a plan, for what is charged by hand."""
    return limits.get(claims["plan"], limits["*"])


def account(request: Request) -> str | None:
    """Whose tokens are spent, on every way to chat. Written so that `take("tokens", subject, ...)` spends them too."""
    user: str | None = request.state.lockwatch.user
    return user


def estimate(request: Request) -> int:
    """How many tokens a reply may take at most. Its real cost is settled when it has ended."""
    asked = request.query_params.get("max_tokens", "")
    return min(MOST_TOKENS, int(asked)) if asked.isdecimal() and len(asked) < 10 else 256


def answered(status: int) -> bool:
    """Only replies cost tokens; a question that cannot be read does not."""
    return status < 400


messages = RateLimit(MESSAGES, tier="plan", key=by_user, name="messages")
tokens = RateLimit(TOKENS, tier="plan", key=account, shared="tokens", cost=estimate, count=answered)
tokens_left = RateLimit(TOKENS, tier="plan", key=account, shared="tokens", cost=0)
