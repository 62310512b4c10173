"""Signed tokens: keys, what a token says, and whether it is believed.

Pure: nothing here waits, reads a clock or makes up an id. Two modules do I/O: `keyfile` (key files, new keys) and `fetch` (keys of
third parties). Nothing imports `jose.jwe`: an encrypted token is never one of ours.
"""
