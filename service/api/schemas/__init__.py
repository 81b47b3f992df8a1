"""The shapes of bodies, queries and answers, one file per resource. They describe and check; they never query."""
