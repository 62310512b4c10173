"""Would the tests notice? Changes one place of a module at a time, and runs the tests that are about it."""
