"""The command `mrct`: `main` has one function per subcommand; the other modules do work that belongs to no stage."""
