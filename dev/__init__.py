"""For a developer's machine, never for production: embedded servers, `make run`, a demo subscriber."""
