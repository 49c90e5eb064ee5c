"""One module a task: ``Settings`` and ``build(settings) -> Task``. The module's name is its name in recipes."""
