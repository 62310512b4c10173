"""Stores: where buckets live. One verb, `call`, in either colour; the same scripts in Lua (`lua/`) and Python (`memory`)."""
