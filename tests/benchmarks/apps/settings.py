"""What the benchmark tells an application, through its environment."""

import os

LIMIT = os.environ.get("BENCH_LIMIT", "1000000/minute")
REDIS = os.environ.get("BENCH_REDIS", "")
AUDIT = os.environ.get("BENCH_AUDIT", "")
SPOOL = os.environ.get("BENCH_SPOOL", "")
PLACE = os.environ.get("BENCH_PLACE", "route")
AMOUNT = int(LIMIT.partition("/")[0])
LIMITS = [f"{AMOUNT + n}/{LIMIT.partition('/')[2]}" for n in range(int(os.environ.get("BENCH_LIMITS", "1")))]
SECONDS = {"second": 1, "minute": 60, "hour": 3600}[LIMIT.partition("/")[2]]
