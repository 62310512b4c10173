"""The subcommands of `lockwatch`. Each is imported when it is used."""
