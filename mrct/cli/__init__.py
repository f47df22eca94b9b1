"""The command `mrct`: `main` has one function per subcommand; the other modules do the work that no stage does."""
