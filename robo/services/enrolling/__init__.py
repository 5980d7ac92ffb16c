"""From a stranger to an open account, one use case a module; `standing` says what comes next."""
