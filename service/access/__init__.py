"""Who may call, and what: clients, API keys with scopes, and the tokens that a key is exchanged for."""
