"""Operations, one module each: ``Settings`` and ``operate(source, settings, fitted) -> Outcome``."""
